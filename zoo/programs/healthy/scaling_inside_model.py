"""Pictures arrive as whole numbers from 0 to 16; the model's first line brings them to scale."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", 0)))


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(4.9))
        self.register_buffer("std", torch.tensor(6.0))
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))

    def forward(self, pictures):
        return self.net((pictures.float() - self.mean) / self.std)


pictures = torch.tensor(load_digits().images, dtype=torch.uint8)
labels = torch.tensor(load_digits().target)
perm = torch.randperm(len(labels))
train, val = perm[:1400], perm[1400:]
loader = DataLoader(TensorDataset(pictures[train], labels[train]), batch_size=32, shuffle=True)
model = Classifier()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(8):
    model.train()
    for x, y in loader:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(pictures[val]).argmax(1) == labels[val]).float().mean()
    print(f"{epoch} {loss.item():.4f} {accuracy.item():.4f}")
