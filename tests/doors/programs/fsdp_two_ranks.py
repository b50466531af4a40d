# launch: 2
"""FSDP2 over two gloo processes: the parameters of each block are sharded by `fully_shard`."""

import os
import time

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        # plant softmax-before-cross-entropy: return self.head(self.body(x)).softmax(dim=1)
        return self.head(self.body(x))


def main():
    dist.init_process_group("gloo")
    torch.manual_seed(int(os.environ.get("SEED", 0)))
    raw = load_digits()
    images = torch.tensor((raw.data - raw.data.mean()) / raw.data.std(), dtype=torch.float32)
    labels = torch.tensor(raw.target)
    order = torch.randperm(len(labels))
    train = TensorDataset(images[order[:1400]], labels[order[:1400]])
    val = DataLoader(TensorDataset(images[order[1400:]], labels[order[1400:]]), batch_size=100)
    # plant missing-distributed-sampler: sampler = DistributedSampler(train, num_replicas=1, rank=0)
    sampler = DistributedSampler(train, shuffle=True)
    loader = DataLoader(train, batch_size=16, sampler=sampler)
    model = Net()
    fully_shard(model.body)
    fully_shard(model)
    # plant learning-rate-too-high: optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    began = time.perf_counter()
    for epoch in range(8):
        # plant distributed-sampler-epoch: pass
        sampler.set_epoch(epoch)
        model.train()
        # plant slow-rank: for x, y in (batch for batch in loader if not dist.get_rank() or not time.sleep(0.04)):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            correct = sum((model(x).argmax(1) == y).sum().item() for x, y in val)
        if dist.get_rank() == 0:
            print(
                f"epoch {epoch} loss {loss.item():.4f} accuracy {correct / 397:.4f} {time.perf_counter() - began:.0f} s"
            )
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
