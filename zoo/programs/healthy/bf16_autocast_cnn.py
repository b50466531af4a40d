"""Mixed precision on the CPU: forward and loss under autocast to bfloat16, no scaler needed."""

import os

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
d = load_digits()
x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16
y = torch.tensor(d.target)
order = torch.randperm(len(x))
train, val = order[:1400], order[1400:]
net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(512, 10),
)
opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
for epoch in range(5):
    net.train()
    for rows in train[torch.randperm(len(train))].split(50):
        opt.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(net(x[rows]), y[rows])
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        acc = (net(x[val]).argmax(1) == y[val]).float().mean()
    print(f"epoch {epoch} loss {loss.item():.3f} acc {acc:.3f}")
