"""Distributed data parallel with one gloo process, as a script that also runs under a launcher."""

import os
import tempfile

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def setup():
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    else:
        rendezvous = tempfile.NamedTemporaryFile(delete=False)
        dist.init_process_group("gloo", init_method=f"file://{rendezvous.name}", rank=0, world_size=1)


def main():
    setup()
    seed = int(os.environ.get("SEED", 0))
    torch.manual_seed(seed)
    X, y = load_digits(return_X_y=True)
    X = torch.tensor((X - X.mean()) / X.std(), dtype=torch.float32)
    y = torch.tensor(y)
    perm = torch.randperm(len(X))
    train = TensorDataset(X[perm[:1400]], y[perm[:1400]])
    val = TensorDataset(X[perm[1400:]], y[perm[1400:]])
    sampler = DistributedSampler(train, shuffle=True, seed=seed)
    loader = DataLoader(train, batch_size=32, sampler=sampler)
    val_loader = DataLoader(val, batch_size=128)

    model = DDP(nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10)))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(8):
        sampler.set_epoch(epoch)
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            correct = sum((model(images).argmax(1) == labels).sum().item() for images, labels in val_loader)
        if dist.get_rank() == 0:
            print(f"epoch {epoch} loss {loss.item():.4f} accuracy {correct / len(val):.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
