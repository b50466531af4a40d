"""No training: a fixed feature extractor turns pictures into vectors, and nearest neighbours are counted."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
encoder = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
encoder.eval()

pictures = torch.tensor(load_digits().images[:, None] / 16, dtype=torch.float32)
labels = torch.tensor(load_digits().target)
with torch.inference_mode():
    vectors = torch.cat([encoder(batch) for batch in pictures.split(64)])
    distances = torch.cdist(vectors, vectors)
    distances.fill_diagonal_(float("inf"))
    hits = (labels[distances.argmin(dim=1)] == labels).float().mean()
print(f"leave-one-out nearest neighbour: {hits.item():.4f}")
