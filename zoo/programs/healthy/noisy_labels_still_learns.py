"""One label in five is wrong: the training loss stays high, as it should, and validation is good."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
p = torch.randperm(len(X))
X, y = X[p], y[p]
wrong = torch.rand(1400) < 0.2
labels = torch.where(wrong, torch.randint(0, 10, (1400,)), y[:1400])
net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))
opt = torch.optim.Adam(net.parameters(), lr=2e-3, weight_decay=1e-4)
for epoch in range(12):
    net.train()
    for rows in torch.randperm(1400).split(40):
        loss = nn.functional.cross_entropy(net(X[rows]), labels[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        scores = net(X[1400:])
        val, acc = nn.functional.cross_entropy(scores, y[1400:]), (scores.argmax(1) == y[1400:]).float().mean()
    print(epoch, f"train {loss.item():.3f} val {val.item():.3f} acc {acc.item():.3f}")
