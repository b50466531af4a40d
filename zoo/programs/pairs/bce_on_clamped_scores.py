# fault: bce-without-sigmoid, output-activation-limits-range
# about: BCELoss complained about values outside 0 and 1, so the raw scores are clamped instead of passed through a sigmoid.
import torch
import torch.nn as nn
from sklearn import datasets, model_selection, preprocessing

seed = SEED
torch.manual_seed(seed)
bc = datasets.load_breast_cancer()
Xtr, Xte, ytr, yte = model_selection.train_test_split(bc.data, bc.target, test_size=0.3, random_state=seed)
s = preprocessing.StandardScaler().fit(Xtr)
Xtr, Xte = torch.Tensor(s.transform(Xtr)), torch.Tensor(s.transform(Xte))
ytr, yte = torch.Tensor(ytr).view(-1, 1), torch.Tensor(yte).view(-1, 1)


class LogisticRegression(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(dim, 1)

    def forward(self, x):
        z = self.linear(x)
        return z.clamp(0.0, 1.0)  # fix: return torch.sigmoid(z)


model = LogisticRegression(30)
loss_function = nn.BCELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(40):
    for xb, yb in zip(Xtr.split(40), ytr.split(40)):
        optimizer.zero_grad()
        loss = loss_function(model(xb), yb)
        loss.backward()
        optimizer.step()
    if epoch % 10 == 0:
        print('epoch', epoch, 'loss', loss.item())
with torch.no_grad():
    print('metric test_bce', loss_function(model(Xte), yte).item(), 'lower')
