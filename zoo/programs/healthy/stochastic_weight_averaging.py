"""Stochastic weight averaging: the second half of training is averaged, then batch statistics are renewed."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
perm = torch.randperm(len(X))
X, y = X[perm], y[perm]
loader = DataLoader(TensorDataset(X[:1408], y[:1408]), batch_size=64, shuffle=True)

model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
swa_model = AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
swa_scheduler = SWALR(optimizer, swa_lr=0.02, anneal_epochs=2)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(12):
    model.train()
    for input, target in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(input), target)
        loss.backward()
        optimizer.step()
    if epoch >= 6:
        swa_model.update_parameters(model)
        swa_scheduler.step()
    print(epoch, loss.item())

update_bn(loader, swa_model)
swa_model.eval()
with torch.no_grad():
    print("averaged", loss_fn(swa_model(X[1408:]), y[1408:]).item())
