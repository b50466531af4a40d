"""Two processes under torchrun, of which one does not come to an exchange: which way is the first argument.

The second is how long an exchange waits, in seconds; `sharded` behind it trains by FSDP2 instead of DDP. `tidies` there
takes its time when Ctrl-C has come: process 0 before it exits, process 1 to let go of what it holds.
"""

import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, TensorDataset

TIDYING_S = 1.5
"""More than the time between two looks."""
way, patience_s = sys.argv[1], float(sys.argv[2])
dist.init_process_group("gloo", timeout=timedelta(seconds=patience_s))
rank = dist.get_rank()
torch.manual_seed(rank)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
if "sharded" in sys.argv:
    fully_shard(model)
else:
    model = nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(20 * 16 if rank == 0 or way in ("skips", "alone", "endless", "saves") else 19 * 16, 8)


class Workers:
    """Wait for each other when they are let go of, as those of a data loader do."""

    def __del__(self):
        time.sleep(TIDYING_S)


class Data(TensorDataset):
    def __getitem__(self, index):
        held = Workers() if "tidies" in sys.argv and rank == 1 and seen >= 5 else None  # noqa: F841
        while way == "endless" and rank == 1 and seen >= 5:
            time.sleep(0.01)
        return super().__getitem__(index)


seen = 0
loader = DataLoader(Data(inputs, (inputs[:, 0] > 0).long()), batch_size=16, shuffle=True)
try:
    for x, y in loader:
        seen += 1
        if way == "skips" and rank == 1 and seen == 5:
            continue
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        if way == "alone" and rank == 0 and seen == 5:
            dist.barrier()
        loss.backward()
        optimizer.step()
        if way == "saves" and rank == 1 and seen == 10:
            time.sleep(5)
except KeyboardInterrupt:
    if "tidies" in sys.argv and rank == 0:
        time.sleep(TIDYING_S)
        sys.exit(1)
    raise
if way != "ends":
    dist.barrier()
