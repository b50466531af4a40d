"""Softmax regression on wine with L-BFGS: a closure, the whole data set at each step."""

import os

import torch
import torch.nn as nn
from sklearn.datasets import load_wine

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_wine(return_X_y=True)
X = torch.tensor((X - X.mean(axis=0)) / X.std(axis=0), dtype=torch.float32)
y = torch.tensor(y)
perm = torch.randperm(len(X))
train, test = perm[:130], perm[130:]

model = nn.Linear(13, 3)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=8, history_size=10)


def closure():
    optimizer.zero_grad()
    loss = criterion(model(X[train]), y[train]) + 1e-2 * model.weight.square().sum()
    loss.backward()
    return loss


for i in range(25):
    loss = optimizer.step(closure)
    with torch.no_grad():
        accuracy = (model(X[test]).argmax(1) == y[test]).float().mean()
    if i % 5 == 0:
        print(i, loss.item(), accuracy.item())
