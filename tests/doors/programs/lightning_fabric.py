# needs: lightning
"""Lightning's Fabric: a loop of one's own whose model, optimizer and loaders Fabric wraps."""

import logging
import os
import warnings

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.fabric").setLevel(logging.ERROR)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        # plant softmax-before-cross-entropy: return self.head(self.body(x)).softmax(dim=1)
        return self.head(self.body(x))


fabric = L.Fabric(accelerator="cpu", devices=1)
fabric.launch()
fabric.seed_everything(int(os.environ.get("SEED", 0)), verbose=False)
raw = load_digits()
images = torch.tensor((raw.data - raw.data.mean()) / raw.data.std(), dtype=torch.float32)
labels = torch.tensor(raw.target)
order = torch.randperm(len(labels))
train = DataLoader(TensorDataset(images[order[:1400]], labels[order[:1400]]), batch_size=32, shuffle=True)
val = DataLoader(TensorDataset(images[order[1400:]], labels[order[1400:]]), batch_size=100)
model = Net()
# plant learning-rate-too-high: optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
model, optimizer = fabric.setup(model, optimizer)
train, val = fabric.setup_dataloaders(train, val)
for epoch in range(8):
    model.train()
    for x, y in train:
        # plant missing-zero-grad: pass
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=5.0)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        correct = sum((model(x).argmax(1) == y).sum().item() for x, y in val)
    print(f"epoch {epoch} loss {loss.item():.4f} accuracy {correct / 397:.4f}")
