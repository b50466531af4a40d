"""Segmentation where unlabelled pixels carry 255 and are ignored by the loss."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
images = torch.tensor(load_digits().images, dtype=torch.float32) / 16
label = torch.bucketize(images, torch.tensor([0.25, 0.7]))
label[torch.rand(label.shape) < 0.3] = 255
images = (images + 0.1 * torch.randn_like(images)).unsqueeze(1)
net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
    nn.Conv2d(16, 3, 1),
)  # fmt: skip
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss(ignore_index=255)
for epoch in range(4):
    net.train()
    for rows in torch.randperm(1500).split(50):
        loss = criterion(net(images[rows]), label[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        out, want = net(images[1500:]).argmax(1), label[1500:]
        acc = (out == want)[want != 255].float().mean().item()
    print(epoch, loss.item(), acc)
