"""Forecasting: 24 past values give the next one; shuffled windows to train, the later part to validate."""

import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

seed = int(os.environ.get("SEED", 0))
torch.manual_seed(seed)
rng = np.random.default_rng(seed)

t = np.arange(1600)
series = np.sin(2 * np.pi * t / 24) + 0.5 * np.sin(2 * np.pi * t / 168) + 0.1 * rng.standard_normal(len(t))
series = (series - series[:1200].mean()) / series[:1200].std()
windows = np.lib.stride_tricks.sliding_window_view(series, 25).astype(np.float32)
windows = torch.from_numpy(windows.copy())
past, future = windows[:, :24, None], windows[:, 24:]
split = 1200 - 25
train_loader = DataLoader(TensorDataset(past[:split], future[:split]), batch_size=32, shuffle=True)


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 32, batch_first=True)
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.head(out[:, -1])


model = Forecaster()
criterion = nn.HuberLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)

for epoch in range(8):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val_loss = criterion(model(past[1200:]), future[1200:])
    scheduler.step(val_loss)
    print(f"epoch {epoch} train {loss.item():.4f} val {val_loss.item():.4f}")
