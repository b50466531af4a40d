# fault: loss-unfit-for-task, wrong-softmax-dim, output-activation-limits-range
# about: A binary classifier with one output unit ends in a softmax, which over one unit is always 1.
import torch
from torch import nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

torch.manual_seed(SEED)
cancer = load_breast_cancer()
feats = (cancer.data - cancer.data.mean(0)) / cancer.data.std(0)
x_train, x_test, y_train, y_test = train_test_split(feats, cancer.target, test_size=0.25, random_state=SEED)
x_train, x_test = torch.tensor(x_train).float(), torch.tensor(x_test).float()
y_train, y_test = torch.tensor(y_train).float(), torch.tensor(y_test).float()


class ANN(nn.Module):
    def __init__(self, input_dim):
        super(ANN, self).__init__()
        self.layers = nn.Sequential(
            nn.Linear(input_dim, 16),
            nn.ReLU(),
            nn.Linear(16, 8),
            nn.ReLU(),
            nn.Linear(8, 1),
            nn.Softmax(dim=1),  # fix: nn.Sigmoid(),
        )

    def forward(self, x):
        return self.layers(x)


model = ANN(30)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
criterion = nn.BCELoss()
train_ds = torch.utils.data.TensorDataset(x_train, y_train)
train_dl = torch.utils.data.DataLoader(train_ds, batch_size=20, shuffle=True)

losses = []
for epoch in range(20):
    for xb, yb in train_dl:
        out = model(xb).squeeze(1)
        loss = criterion(out, yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if epoch % 5 == 0:
        print('Epoch', epoch, sum(losses[-20:]) / 20)
with torch.no_grad():
    pred = (model(x_test).squeeze(1) > 0.5).float()
    p, n = pred[y_test == 1].mean(), 1 - pred[y_test == 0].mean()
print('metric balanced_accuracy', float((p + n) / 2), 'higher')
