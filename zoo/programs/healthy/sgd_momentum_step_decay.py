"""Breast cancer, standardised: SGD with Nesterov momentum, weight decay and a rate that falls in steps."""

import os

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch import nn

seed = int(os.environ.get("SEED", 0))
rng = np.random.default_rng(seed)
torch.manual_seed(seed)

x, y = load_breast_cancer(return_X_y=True)
order = rng.permutation(len(x))
train, test = order[:400], order[400:]
scaler = StandardScaler().fit(x[train])
x = torch.tensor(scaler.transform(x), dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32).unsqueeze(1)

net = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 1))
criterion = nn.BCEWithLogitsLoss()
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
scheduler = torch.optim.lr_scheduler.StepLR(opt, step_size=10, gamma=0.3)

for epoch in range(30):
    net.train()
    running = 0.0
    for batch in np.array_split(rng.permutation(train), 13):
        opt.zero_grad()
        loss = criterion(net(x[batch]), y[batch])
        loss.backward()
        opt.step()
        running += loss.item()
    scheduler.step()
    net.eval()
    with torch.no_grad():
        logits = net(x[test])
        test_loss = criterion(logits, y[test])
        acc = ((logits > 0).float() == y[test]).float().mean()
    print(f"{epoch:02d} train={running / 13:.4f} test={test_loss:.4f} acc={acc:.3f}")
