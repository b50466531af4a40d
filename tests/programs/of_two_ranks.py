"""Two gloo processes under torchrun: `ddp` averages gradients, `fsdp` shards parameters; each rank tells its own."""

import sys

import torch
import torch.distributed as dist
from fingerprint import print_fingerprints, seed_everything
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

dist.init_process_group("gloo")
seed_everything(1)
x = torch.randn(256, 10)
data = TensorDataset(x, (x[:, 0] + x[:, 1] > 0).long())
model = nn.Sequential(nn.Linear(10, 16), nn.LayerNorm(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
if sys.argv[1] == "ddp":
    model = nn.parallel.DistributedDataParallel(model)
else:
    fully_shard(model[0])
    fully_shard(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
sampler = DistributedSampler(data, shuffle=True)
torch.manual_seed(dist.get_rank())
losses = []
for epoch in range(4):
    sampler.set_epoch(epoch)
    for inputs, targets in DataLoader(data, batch_size=16, sampler=sampler):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        losses.append(nn.functional.cross_entropy(model(x[:32]), data.tensors[1][:32]).item())
    model.train()
local = [nn.ParameterList([getattr(p, "_local_tensor", p).detach() for p in model.parameters()])]
for turn in range(2):
    if turn == dist.get_rank():
        print("rank", turn)
        print_fingerprints(models=local, losses=losses)
        sys.stdout.flush()
    dist.barrier()
del model
dist.destroy_process_group()
