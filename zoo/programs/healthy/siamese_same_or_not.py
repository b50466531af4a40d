"""A Siamese network with a contrastive loss: are two pictures of the same digit?"""

import os

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

seed = int(os.environ.get("SEED", 0))
torch.manual_seed(seed)


class Couples(Dataset):
    def __init__(self, X, y, n):
        rng = np.random.default_rng(seed)
        self.X, self.rows = torch.tensor(X / 16, dtype=torch.float32), []
        for k in range(n):
            i = rng.integers(len(y))
            pool = np.flatnonzero((y == y[i]) == bool(k % 2))
            self.rows.append((i, rng.choice(pool), float(k % 2)))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, k):
        i, j, same = self.rows[k]
        return self.X[i], self.X[j], torch.tensor(same)


def contrastive(u, v, same, margin=1.0):
    d = nn.functional.pairwise_distance(u, v)
    return (same * d**2 + (1 - same) * torch.relu(margin - d) ** 2).mean(), d


X, y = load_digits(return_X_y=True)
tower = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
opt = torch.optim.Adam(tower.parameters(), lr=2e-3)
train, test = Couples(X[:1300], y[:1300], 2000), Couples(X[1300:], y[1300:], 600)
for epoch in range(6):
    for a, b, same in DataLoader(train, batch_size=50, shuffle=True):
        loss, _ = contrastive(tower(a), tower(b), same)
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        hits = [
            ((contrastive(tower(a), tower(b), s)[1] < 0.5) == s.bool()).float() for a, b, s in DataLoader(test, 200)
        ]
    print(epoch, loss.item(), torch.cat(hits).mean().item())
