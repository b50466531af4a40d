"""A coordinate network with sine activations fits one picture; validation makes no sense here."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
digits = load_digits().images[:9] / 8 - 1
image = torch.tensor(digits.reshape(3, 3, 8, 8).transpose(0, 2, 1, 3).reshape(24, 24, 1), dtype=torch.float32)
h, w, _ = image.shape
grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij"), -1).view(-1, 2)
colour = image.view(-1, 1)


class Sine(nn.Module):
    def __init__(self, i, o, first=False):
        super().__init__()
        self.linear = nn.Linear(i, o)
        bound = 1 / i if first else (6 / i) ** 0.5 / 15
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x):
        return torch.sin(15 * self.linear(x))


net = nn.Sequential(Sine(2, 64, first=True), Sine(64, 64), nn.Linear(64, 1))
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
for step in range(300):
    rows = torch.randint(len(grid), (256,))
    loss = nn.functional.mse_loss(net(grid[rows]), colour[rows])
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 60 == 0:
        print(step, loss.item())
