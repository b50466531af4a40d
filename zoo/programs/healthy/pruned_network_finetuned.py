"""Half of the weights are pruned after training and stay at zero while the rest is trained on."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.utils import prune

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
p = torch.randperm(len(X))
net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))


def fit(epochs, lr):
    opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    for _ in range(epochs):
        for rows in p[:1400][torch.randperm(1400)].split(50):
            loss = nn.functional.cross_entropy(net(X[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
    with torch.no_grad():
        return loss.item(), (net(X[p[1400:]]).argmax(1) == y[p[1400:]]).float().mean().item()


print("dense", fit(8, 0.05))
for layer in (net[0], net[2]):
    prune.l1_unstructured(layer, "weight", amount=0.5)
print("pruned", fit(4, 0.02))
