# fault: label-out-of-range
# about: The output layer has two thousand units, a number from another data set, and only three classes ever occur.
import torch
from torch import nn
from sklearn.datasets import load_wine

torch.manual_seed(SEED)
X, y = load_wine(return_X_y=True)
X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
y = torch.tensor(y)
p = torch.randperm(178)
N_CLASSES = 2000  # fix: N_CLASSES = 3
net = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, N_CLASSES))
opt = torch.optim.SGD(net.parameters(), lr=0.02)
for epoch in range(12):
    for b in p[:120].split(12):
        loss = nn.functional.cross_entropy(net(X[b]), y[b])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item())
with torch.no_grad():
    print('metric test_ce', nn.functional.cross_entropy(net(X[p[120:]]), y[p[120:]]).item(), 'lower')
