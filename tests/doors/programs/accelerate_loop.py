# needs: accelerate
"""Accelerate: prepared model, optimizer, loaders and schedule; gradients are gathered over two batches."""

import os

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

set_seed(int(os.environ.get("SEED", 0)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        # plant softmax-before-cross-entropy: return self.head(self.body(x)).softmax(dim=1)
        return self.head(self.body(x))


accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
raw = load_digits()
images = torch.tensor((raw.data - raw.data.mean()) / raw.data.std(), dtype=torch.float32)
labels = torch.tensor(raw.target)
order = torch.randperm(len(labels))
train = DataLoader(TensorDataset(images[order[:1400]], labels[order[:1400]]), batch_size=16, shuffle=True)
val = DataLoader(TensorDataset(images[order[1400:]], labels[order[1400:]]), batch_size=100)
model = Net()
# plant learning-rate-too-high: optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.2, total_iters=8 * 44)
model, optimizer, train, val, schedule = accelerator.prepare(model, optimizer, train, val, schedule)
for epoch in range(8):
    model.train()
    for x, y in train:
        with accelerator.accumulate(model):
            loss = F.cross_entropy(model(x), y)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            # plant missing-zero-grad: pass
            optimizer.zero_grad()
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in val:
            guess, truth = accelerator.gather_for_metrics((model(x).argmax(1), y))
            correct += (guess == truth).sum().item()
    accelerator.print(f"epoch {epoch} loss {loss.item():.4f} accuracy {correct / 397:.4f}")
