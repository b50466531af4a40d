"""Mixup and label smoothing: soft targets, so the training loss stays well above zero and should."""

import os

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

seed = int(os.environ.get("SEED", 0))
torch.manual_seed(seed)
rng = np.random.default_rng(seed)
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16 - 0.305, dtype=torch.float32) / 0.376, torch.tensor(y)
perm = torch.from_numpy(rng.permutation(len(X)))
X_train, y_train, X_val, y_val = X[perm[:1400]], y[perm[:1400]], X[perm[1400:]], y[perm[1400:]]

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

for epoch in range(12):
    model.train()
    for batch in torch.randperm(1400).split(50):
        x, target = X_train[batch], F.one_hot(y_train[batch], 10).float()
        lam, other = float(rng.beta(0.4, 0.4)), torch.randperm(len(batch))
        x = lam * x + (1 - lam) * x[other]
        target = lam * target + (1 - lam) * target[other]
        loss = criterion(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        scores = model(X_val)
    print(
        epoch,
        loss.item(),
        F.cross_entropy(scores, y_val).item(),
        (scores.argmax(1) == y_val).float().mean().item(),
    )
