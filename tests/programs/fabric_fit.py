"""Lightning's Fabric: a loop of one's own with its model, optimizer and loader wrapped; clipping, a checkpoint."""

import logging
import tempfile
import warnings
from pathlib import Path

import lightning as L
import torch
from fingerprint import print_fingerprints
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
fabric = L.Fabric(accelerator="cpu", devices=1)
fabric.launch()
fabric.seed_everything(1, verbose=False)
x = torch.randn(300, 10)
y = (x[:, 0] + x[:, 1] > 0).long()
model = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
model, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=1e-2))
loader = fabric.setup_dataloaders(DataLoader(TensorDataset(x[:240], y[:240]), batch_size=16, shuffle=True))
losses = []
for _ in range(4):
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        losses.append(nn.functional.cross_entropy(model(x[240:]), y[240:]).item())
kept = Path(tempfile.mkdtemp()) / "kept.ckpt"
fabric.save(kept, {"model": model})
print_fingerprints(models=[model], optimizers=[optimizer], losses=losses, outputs=[torch.load(kept)["model"]])
