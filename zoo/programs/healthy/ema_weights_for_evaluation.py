"""An exponential moving average of the weights is kept by hand, and it alone is evaluated."""

import copy
import os

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn

seed = int(os.environ.get("SEED", 0))
torch.manual_seed(seed)


class Ema:
    def __init__(self, model, decay=0.98):
        self.shadow = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for s, p in zip(self.shadow.parameters(), model.parameters()):
            s.lerp_(p, 1 - self.decay)


X, y = load_breast_cancer(return_X_y=True)
a, b, ya, yb = train_test_split(X, y, test_size=0.3, random_state=seed, stratify=y)
mean, std = a.mean(0), a.std(0)
a, b = (torch.tensor((part - mean) / std, dtype=torch.float32) for part in (a, b))
ya, yb = torch.tensor(ya, dtype=torch.float32), torch.tensor(yb, dtype=torch.float32)
net = nn.Sequential(nn.Linear(30, 32), nn.SiLU(), nn.Linear(32, 1))
ema = Ema(net)
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
for epoch in range(10):
    for rows in torch.randperm(len(a)).split(20):
        loss = nn.functional.binary_cross_entropy_with_logits(net(a[rows]).squeeze(1), ya[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
        ema.update(net)
    with torch.no_grad():
        val = nn.functional.binary_cross_entropy_with_logits(ema.shadow(b).squeeze(1), yb)
    print(epoch, f"train {loss.item():.4f} averaged model {val.item():.4f}")
