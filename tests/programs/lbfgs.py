"""L-BFGS, whose step calls a closure many times."""

import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn

seed_everything(6)
model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
x = torch.randn(40, 3, dtype=torch.float64)
y = x.prod(dim=1, keepdim=True)
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=6, line_search_fn="strong_wolfe")
losses = []


def closure():
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    losses.append(loss.item())
    return loss


for _ in range(8):
    print(optimizer.step(closure).item())
print_fingerprints(models=[model], optimizers=[optimizer], losses=losses, outputs=[model(x)])
