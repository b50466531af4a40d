"""The same loop as ever around a compiled model."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16, dtype=torch.float32)
labels = torch.tensor(labels)
perm = torch.randperm(len(images))
images, labels = images[perm], labels[perm]

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
compiled = torch.compile(model, backend="aot_eager")
opt = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(8):
    compiled.train()
    for idx in torch.randperm(1408).split(64):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(compiled(images[idx]), labels[idx])
        loss.backward()
        opt.step()
    compiled.eval()
    with torch.no_grad():
        acc = (compiled(images[1408:]).argmax(1) == labels[1408:]).float().mean()
    print(f"epoch={epoch} loss={loss.item():.4f} acc={acc.item():.4f}")
