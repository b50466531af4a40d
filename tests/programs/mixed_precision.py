"""Autocast to bfloat16 with a gradient scaler that meets an overflow on its way."""

import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn

seed_everything(7)
model = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.LayerNorm(24), nn.Linear(24, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=5)
losses = []
for _ in range(20):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.mse_loss(model(torch.randn(9, 12)), torch.randn(9, 1))
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_value_(model.parameters(), 0.5)
    scaler.step(optimizer)
    scaler.update()
    losses.append(loss.item())
    print(scaler.get_scale())
print_fingerprints(models=[model], optimizers=[optimizer], losses=losses, outputs=[scaler.state_dict()])
