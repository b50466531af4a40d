"""Monte Carlo dropout: after training, dropout stays on while the same inputs are predicted many times."""

import os

import torch
from sklearn.datasets import load_diabetes
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_diabetes(return_X_y=True, scaled=False)
X = torch.tensor((X - X.mean(0)) / X.std(0)).float()
y = torch.tensor((y - y.mean()) / y.std()).float().unsqueeze(1)
perm = torch.randperm(len(X))
train, test = perm[:340], perm[340:]

net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3, weight_decay=1e-3)


def predict(x, samples=30):
    net.train()
    with torch.no_grad():
        draws = torch.stack([net(x) for _ in range(samples)])
    return draws.mean(0), draws.std(0)


for epoch in range(20):
    net.train()
    for batch in train[torch.randperm(len(train))].split(34):
        loss = nn.functional.mse_loss(net(X[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 5 == 4:
        mean, spread = predict(X[test])
        error = (mean - y[test]).square().mean()
        print(f"epoch {epoch} loss {loss.item():.3f} test {error.item():.3f} spread {spread.mean().item():.3f}")
