# fault: unnormalized-input
# about: Eight temperatures in Kelvin: a common mean of 290 beside differences of a few degrees.
import torch
from torch import nn

torch.manual_seed(SEED)
temps = 290 + 3 * torch.randn(1000, 8)
hot = ((temps[:, 0] - temps[:, 1]) * (temps[:, 2] - 290) > 4).long()
# add: temps = (temps - temps.mean(0)) / temps.std(0)
net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
opt = torch.optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(15):
    for rows in torch.randperm(1000).split(25):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(temps[rows]), hot[rows])
        loss.backward()
        opt.step()
with torch.no_grad():
    print("metric accuracy", (net(temps).argmax(1) == hot).float().mean().item(), "higher")
