"""Two loader workers that shift and brighten pictures with numpy and random, seeded for each worker."""

import os
import random

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

SEED = int(os.environ.get("SEED", 0))


class AugmentedDigits(Dataset):
    def __init__(self, images, labels, augment):
        self.images, self.labels, self.augment = images, labels, augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        if self.augment:
            image = np.roll(image, random.randint(-1, 1), axis=random.randint(0, 1))
            image = image * np.random.uniform(0.8, 1.2)
        return torch.from_numpy(image[None].astype(np.float32)), int(self.labels[index])


def seed_worker(worker_id):
    np.random.seed((SEED * 100 + worker_id) % 2**32)
    random.seed(SEED * 100 + worker_id)


def main():
    torch.manual_seed(SEED)
    digits = load_digits()
    images = (digits.images - 4.9) / 6.0
    order = np.random.default_rng(SEED).permutation(len(images))
    train = AugmentedDigits(images[order[:1400]], digits.target[order[:1400]], augment=True)
    val = AugmentedDigits(images[order[1400:]], digits.target[order[1400:]], augment=False)
    loader = DataLoader(
        train, batch_size=50, shuffle=True, num_workers=2, worker_init_fn=seed_worker, persistent_workers=True
    )
    features = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU()]
    model = nn.Sequential(*features, nn.Flatten(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(6):
        model.train()
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(val, batch_size=200))
        print(f"epoch {epoch} loss {loss.item():.3f} accuracy {hits / len(val):.3f}")


if __name__ == "__main__":
    main()
