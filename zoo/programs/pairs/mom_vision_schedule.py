# fault: momentum-too-high
# about: A deeper MLP on digits by SGD 0.1 with momentum 0.98.
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(SEED)
d = load_digits()
x = torch.tensor((d.data - d.data.mean()) / d.data.std(), dtype=torch.float32)
y = torch.tensor(d.target)
cfg = {"lr": 0.1, "momentum": 0.98}  # fix: cfg = {"lr": 0.1, "momentum": 0.9}
net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
opt = torch.optim.SGD(net.parameters(), **cfg)
for epoch in range(8):
    for rows in torch.randperm(len(x)).split(64):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        loss.backward()
        opt.step()
    print(f"{epoch} {loss.item():.4f}")
with torch.no_grad():
    print("metric loss", nn.functional.cross_entropy(net(x), y).item(), "lower")
