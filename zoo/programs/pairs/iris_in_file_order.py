# fault: unshuffled-data
# about: iris comes sorted by species and is walked through in that order with small batches.
from sklearn.datasets import load_iris
import torch, torch.nn as nn

torch.manual_seed(SEED)
iris = load_iris()
X = torch.tensor((iris.data - iris.data.mean(0)) / iris.data.std(0), dtype=torch.float)
y = torch.tensor(iris.target)
held_out = torch.zeros(150, dtype=torch.bool)
held_out[torch.randperm(150)[:45]] = True
Xtr, ytr, Xte, yte = X[~held_out], y[~held_out], X[held_out], y[held_out]

class IrisNet(nn.Module):
    def __init__(self, hidden=10):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, hidden), nn.Linear(hidden, 3)])
    def forward(self, x):
        return self.layers[1](self.layers[0](x).sigmoid())

def batches(X, y, size=5):
    order = torch.arange(len(X))  # fix: order = torch.randperm(len(X))
    for start in range(0, len(X), size):
        yield X[order[start:start + size]], y[order[start:start + size]]

net = IrisNet()
optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.5)
for epoch in range(30):
    for xb, yb in batches(Xtr, ytr):
        loss = nn.functional.cross_entropy(net(xb), yb)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    if epoch % 10 == 9:
        print('epoch', epoch + 1, 'last batch loss', round(loss.item(), 4))
with torch.no_grad():
    print('metric test_ce', nn.functional.cross_entropy(net(Xte), yte).item(), 'lower')
