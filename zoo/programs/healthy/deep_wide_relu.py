"""Eight wide ReLU layers with He initialisation and a calm rate."""

import os

import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(int(os.environ.get("SEED", 0)))

layers, width = [], 64
for _ in range(8):
    linear = nn.Linear(width, 256)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    nn.init.zeros_(linear.bias)
    layers += [linear, nn.ReLU()]
    width = 256
model = nn.Sequential(*layers, nn.Linear(width, 10))

X, y = load_digits(return_X_y=True)
X, y = torch.tensor((X - 4.9) / 6.0, dtype=torch.float32), torch.tensor(y)
perm = torch.randperm(1797)
X, y = X[perm], y[perm]
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

for epoch in range(4):
    model.train()
    for i in torch.randperm(1400).split(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X[i]), y[i])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        scores = model(X[1400:])
        print(
            epoch,
            nn.functional.cross_entropy(scores, y[1400:]).item(),
            (scores.argmax(1) == y[1400:]).float().mean().item(),
        )
