"""A deeper residual network whose blocks are recomputed in the backward pass to save memory."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(int(os.environ.get("SEED", 0)))


class ResidualBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class DeepNet(nn.Module):
    def __init__(self, width=64, depth=6, classes=10):
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(depth))
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.training else block(x)
        return self.head(x)


X, y = load_digits(return_X_y=True)
X, y = torch.tensor((X - 4.9) / 6, dtype=torch.float32), torch.tensor(y)
perm = torch.randperm(len(X))
X, y = X[perm], y[perm]
model = DeepNet()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)

for epoch in range(5):
    model.train()
    for batch in torch.randperm(1400).split(50):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X[batch]), y[batch])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val_loss = nn.functional.cross_entropy(model(X[1400:]), y[1400:])
    print(f"{epoch}: {loss.item():.3f} {val_loss.item():.3f}")
