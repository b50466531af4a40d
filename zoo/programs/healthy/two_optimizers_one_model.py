"""Embeddings by SparseAdam, the rest by SGD: two optimizers step for one loss."""

import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
N = 3000
user, item = torch.randint(0, 80, (N,)), torch.randint(0, 50, (N,))
u, v = torch.randn(80, 3), torch.randn(50, 3)
liked = ((u[user] * v[item]).sum(1) + 0.2 * torch.randn(N) > 0).float()


class Recommender(nn.Module):
    def __init__(self, k=8):
        super().__init__()
        self.users, self.items = nn.Embedding(80, k, sparse=True), nn.Embedding(50, k, sparse=True)
        self.mlp = nn.Sequential(nn.Linear(3 * k, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, a, b):
        a, b = self.users(a), self.items(b)
        return self.mlp(torch.cat([a, b, a * b], 1)).squeeze(1)


model = Recommender()
sparse = torch.optim.SparseAdam([model.users.weight, model.items.weight], lr=0.01)
dense = torch.optim.SGD(model.mlp.parameters(), lr=0.1, momentum=0.9)
for epoch in range(12):
    for rows in torch.randperm(2400).split(50):
        loss = nn.functional.binary_cross_entropy_with_logits(model(user[rows], item[rows]), liked[rows])
        sparse.zero_grad()
        dense.zero_grad()
        loss.backward()
        sparse.step()
        dense.step()
    with torch.no_grad():
        acc = ((model(user[2400:], item[2400:]) > 0) == liked[2400:].bool()).float().mean()
    print(epoch, loss.item(), acc.item())
