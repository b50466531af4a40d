"""Gradients of four small batches are added up before each step."""

import os

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X = torch.tensor(X / 8 - 0.6, dtype=torch.float32)
y = torch.tensor(y)
shuffled = torch.randperm(len(X))
train, val = shuffled[:1440], shuffled[1440:]

loader = DataLoader(TensorDataset(X[train], y[train]), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
accumulation_steps = 4

for epoch in range(10):
    model.train()
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        loss = F.cross_entropy(model(inputs), targets) / accumulation_steps
        loss.backward()
        if (i + 1) % accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        out = model(X[val])
        print(epoch, F.cross_entropy(out, y[val]).item(), (out.argmax(1) == y[val]).float().mean().item())
