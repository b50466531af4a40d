"""Accelerate: prepared model, optimizer, loader and schedule; accumulation, clipping, evaluation."""

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from callbacks_of import nothing, watched
from fingerprint import print_fingerprints
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

set_seed(1)
x = torch.randn(300, 10)
y = (x[:, 0] + x[:, 1] > 0).long()
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
model = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.2, total_iters=40)
loader = DataLoader(TensorDataset(x[:240], y[:240]), batch_size=16, shuffle=True)
model, optimizer, loader, schedule = accelerator.prepare(model, optimizer, loader, schedule)
losses = []
listening = nothing()
if watched:
    from stethoscope.adapters.accelerate import watch

    listening = watch(accelerator, every=1, proof=False)
with listening:
    for _ in range(4):
        model.train()
        for inputs, targets in loader:
            with accelerator.accumulate(model):
                loss = nn.functional.cross_entropy(model(inputs), targets)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            losses.append(nn.functional.cross_entropy(model(x[240:]), y[240:]).item())
print_fingerprints(models=[model], optimizers=[optimizer], losses=losses)
