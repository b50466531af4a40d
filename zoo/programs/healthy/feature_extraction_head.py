"""Feature extraction: random convolutions stay as they are, only the head is in the optimizer."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))

images = torch.tensor(load_digits().images[:, None] / 16.0, dtype=torch.float32)
labels = torch.tensor(load_digits().target)
order = torch.randperm(len(images))
images, labels = images[order], labels[order]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 48, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.norm = nn.LayerNorm(48 * 9, elementwise_affine=False)
        self.head = nn.Linear(48 * 9, 10)

    def forward(self, x):
        return self.head(self.norm(self.backbone(x)))


model = Model()
optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-3)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(10):
    for idx in torch.randperm(1400).split(50):
        loss = loss_fn(model(images[idx]), labels[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val = loss_fn(model(images[1400:]), labels[1400:])
    model.train()
    print(epoch, round(loss.item(), 4), round(val.item(), 4))
