# fault: nll-without-log-softmax
# about: A digit classifier returns its last layer as it is and is trained with NLLLoss; the loss falls below zero without end.
import torch
from torch import nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import TensorDataset, DataLoader

torch.manual_seed(SEED)
data, target = load_digits(return_X_y=True)
data = torch.FloatTensor(data) / 16
target = torch.LongTensor(target)
x_tr, x_te, y_tr, y_te = train_test_split(data, target, test_size=300, random_state=SEED)
train_loader = DataLoader(TensorDataset(x_tr, y_tr), batch_size=50, shuffle=True)


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 80)
        self.hidden2 = nn.Linear(80, 40)
        self.output = nn.Linear(40, 10)

    def forward(self, x):
        x = nn.functional.relu(self.hidden(x))
        x = nn.functional.relu(self.hidden2(x))
        return self.output(x)  # fix: return nn.functional.log_softmax(self.output(x), dim=1)


model = FeedForward()
criterion = nn.NLLLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.03)

for epoch in range(15):
    for images, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
    print(f"Epoch {epoch + 1}/15, training loss {loss.item():.4f}")

with torch.no_grad():
    acc = (model(x_te).argmax(1) == y_te).float().mean().item()
print(f"metric accuracy {acc:.4f} higher")
