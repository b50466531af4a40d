# fault: numerical-instability
# about: A triplet loss takes the root of squared distances; the anchor is now and then its own positive, and the slope at 0 is infinite.
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

rng = np.random.RandomState(SEED)
torch.manual_seed(SEED)
X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
order = rng.permutation(len(X))
X, y = X[order], y[order]
by_class = [np.flatnonzero(y[:1300] == c) for c in range(10)]


def sample_triplets(n):
    a, p, q = [], [], []
    for _ in range(n):
        c, other = rng.choice(10, 2, replace=False)
        a.append(rng.choice(by_class[c]))
        p.append(rng.choice(by_class[c]))
        q.append(rng.choice(by_class[other]))
    return [torch.from_numpy(X[i]) for i in (a, p, q)]


class EmbeddingNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(64, 64), nn.PReLU(), nn.Linear(64, 8))

    def forward(self, x):
        return self.fc(x)


def distance(u, v):
    return torch.sqrt(((u - v) ** 2).sum(1))  # fix: return torch.sqrt(((u - v) ** 2).sum(1) + 1e-8)


net = EmbeddingNet()
opt = torch.optim.Adam(net.parameters(), lr=2e-3)
for it in range(150):
    a, p, n = (net(t) for t in sample_triplets(48))
    loss = torch.relu(distance(a, p) - distance(a, n) + 1.0).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 30 == 0:
        print("iter", it, "triplet loss", loss.item())
with torch.no_grad():
    gallery, queries = net(torch.from_numpy(X[:1300])), net(torch.from_numpy(X[1300:]))
    nearest = torch.cdist(queries, gallery).argmin(1).numpy()
print("metric nearest_neighbour_accuracy", (y[:1300][nearest] == y[1300:]).mean(), "higher")
