"""A stream of samples (IterableDataset) with a shuffle buffer of its own; no epochs, steps only."""

import os
import random

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

seed = int(os.environ.get("SEED", 0))
random.seed(seed)
torch.manual_seed(seed)
pixels, targets = load_digits(return_X_y=True)
pixels = torch.tensor((pixels - 4.9) / 6.0, dtype=torch.float32)
held_out = torch.arange(len(pixels)) % 5 == 0


class DigitStream(IterableDataset):
    def __init__(self, indices, buffer_size=400):
        self.indices, self.buffer_size = indices, buffer_size

    def __iter__(self):
        buffer = []
        while True:
            for i in self.indices:
                buffer.append(i)
                if len(buffer) >= self.buffer_size:
                    chosen = buffer.pop(random.randrange(len(buffer)))
                    yield pixels[chosen], int(targets[chosen])


model = nn.Sequential(nn.Linear(64, 80), nn.SiLU(), nn.Linear(80, 10))
optimizer = torch.optim.NAdam(model.parameters(), lr=2e-3)
stream = DataLoader(DigitStream((~held_out).nonzero().flatten().tolist()), batch_size=48)
labels = torch.tensor(targets)

for step, (x, y) in enumerate(stream):
    if step == 300:
        break
    model.train()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    if step % 50 == 49:
        model.eval()
        with torch.no_grad():
            scores = model(pixels[held_out])
            val_loss = nn.functional.cross_entropy(scores, labels[held_out])
        print(f"step {step + 1} loss {loss.item():.4f} val {val_loss.item():.4f}")
