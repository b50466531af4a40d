# fault: unnormalized-target
# about: Body temperature in Kelvin (310 +- 0.6) with L1: the offset is learned, the rest is not.
import torch
from torch import nn

torch.manual_seed(SEED)
x = torch.randn(1500, 5)
temp = 310 + 0.6 * (0.7 * x[:, 0] + 0.5 * x[:, 1] * x[:, 2] + 0.1 * torch.randn(1500))
offset, unit = 0.0, 1.0  # fix: offset, unit = temp.mean(), temp.std()
net = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 1))
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
for epoch in range(25):
    for rows in torch.randperm(1500).split(50):
        opt.zero_grad()
        loss = nn.functional.l1_loss(net(x[rows])[:, 0], (temp[rows] - offset) / unit)
        loss.backward()
        opt.step()
with torch.no_grad():
    print("metric mae", (net(x)[:, 0] * unit + offset - temp).abs().mean().item(), "lower")
