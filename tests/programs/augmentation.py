"""Augmentation that draws from torch, numpy and random at every step."""

import random

import numpy as np
import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn

seed_everything(11)
model = nn.Sequential(nn.Flatten(), nn.Linear(36, 10), nn.SiLU(), nn.Linear(10, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, nesterov=True, momentum=0.5)
losses = []
for step in range(40):
    images = np.random.normal(size=(8, 6, 6)).astype(np.float32)
    images = np.roll(images, random.randint(0, 5), axis=random.choice([1, 2]))
    if random.random() < 0.5:
        images = images[:, ::-1].copy()
    order = torch.randperm(8)
    loss = nn.functional.cross_entropy(model(torch.from_numpy(images)[order]), torch.arange(8) % 2)
    model.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if step % 10 == 0:
        print(step, random.random(), np.random.rand(), torch.rand(1).item())
print_fingerprints(models=[model], optimizers=[optimizer], losses=losses)
