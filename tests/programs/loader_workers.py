"""A shuffled loader with two worker processes."""

import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __len__(self):
        return 96

    def __getitem__(self, index):
        return torch.full((6,), index / 96) + 0.1 * torch.randn(6), index % 3


def main():
    seed_everything(9)
    loader = DataLoader(Noisy(), batch_size=8, shuffle=True, num_workers=2)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    optimizer = torch.optim.NAdam(model.parameters(), lr=1e-3)
    losses, batches = [], []
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            batches.append((x, y))
    print_fingerprints(models=[model], optimizers=[optimizer], losses=losses, outputs=batches)


if __name__ == "__main__":
    main()
