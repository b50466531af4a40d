"""One-cycle schedule: the rate climbs high in the middle of the run and comes down again."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16 - 0.3, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y)
perm = torch.randperm(len(X))
train_dl = DataLoader(TensorDataset(X[perm[:1400]], y[perm[:1400]]), batch_size=50, shuffle=True)
valid_x, valid_y = X[perm[1400:]], y[perm[1400:]]

learner = nn.Sequential(
    nn.Conv2d(1, 8, 3, stride=2, padding=1),
    nn.BatchNorm2d(8),
    nn.ReLU(),
    nn.Conv2d(8, 16, 3, stride=2, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(64, 10),
)
epochs = 8
opt = torch.optim.AdamW(learner.parameters(), lr=1e-3)
sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-2, epochs=epochs, steps_per_epoch=len(train_dl))
loss_func = nn.CrossEntropyLoss()

for epoch in range(epochs):
    learner.train()
    for xb, yb in train_dl:
        loss = loss_func(learner(xb), yb)
        loss.backward()
        opt.step()
        sched.step()
        opt.zero_grad()
    learner.eval()
    with torch.no_grad():
        valid_loss = loss_func(learner(valid_x), valid_y)
    print(epoch, f"{loss.item():.4f} {valid_loss.item():.4f} lr {sched.get_last_lr()[0]:.5f}")
