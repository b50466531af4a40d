"""A compiled model, and the number of graphs, breaks and recompilations that it took."""

import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn
from torch._dynamo.utils import counters

seed_everything(10)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
compiled = torch.compile(model, backend="aot_eager")
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses = []
for _ in range(20):
    x = torch.randn(16, 8)
    loss = nn.functional.mse_loss(compiled(x), x.sum(1, keepdim=True))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(dict(counters["graph_break"]), counters["stats"]["unique_graphs"])
print_fingerprints(models=[model], optimizers=[optimizer], losses=losses)
