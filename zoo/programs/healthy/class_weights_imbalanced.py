"""Imbalanced classes with weights in the loss; most samples are of the majority and order is shuffled."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
target = torch.where(y == 1, 1, torch.where(y == 7, 2, 0))
p = torch.randperm(len(X))
counts = torch.bincount(target[p[:1400]]).float()
criterion = nn.CrossEntropyLoss(weight=counts.sum() / (3 * counts))
net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 3))
opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
for epoch in range(8):
    net.train()
    for x, t in DataLoader(TensorDataset(X[p[:1400]], target[p[:1400]]), batch_size=64, shuffle=True):
        loss = criterion(net(x), t)
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        said = net(X[p[1400:]]).argmax(1)
        recall = [(said[target[p[1400:]] == c] == c).float().mean().item() for c in range(3)]
    print(epoch, loss.item(), [round(r, 2) for r in recall])
