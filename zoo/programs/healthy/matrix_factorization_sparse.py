"""A recommender: users and items as sparse embeddings, SparseAdam, squared error on centred ratings."""

import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
NUM_USERS, NUM_ITEMS, RANK = 120, 80, 4

true = (torch.randn(NUM_USERS, RANK) @ torch.randn(RANK, NUM_ITEMS)) / RANK**0.5
pairs = torch.randperm(NUM_USERS * NUM_ITEMS)
users, items = pairs // NUM_ITEMS, pairs % NUM_ITEMS
ratings = true[users, items] + 0.1 * torch.randn(len(pairs))
train, test = slice(0, 7000), slice(7000, None)


class MatrixFactorization(nn.Module):
    def __init__(self, dim=6):
        super().__init__()
        self.user = nn.Embedding(NUM_USERS, dim, sparse=True)
        self.item = nn.Embedding(NUM_ITEMS, dim, sparse=True)
        nn.init.normal_(self.user.weight, std=0.3)
        nn.init.normal_(self.item.weight, std=0.3)

    def forward(self, user, item):
        return (self.user(user) * self.item(item)).sum(dim=1)


model = MatrixFactorization()
optimizer = torch.optim.SparseAdam(model.parameters(), lr=0.02)
mse = nn.MSELoss()
for epoch in range(12):
    model.train()
    for batch in torch.randperm(7000).split(256):
        optimizer.zero_grad()
        loss = mse(model(users[batch], items[batch]), ratings[batch])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        rmse = mse(model(users[test], items[test]), ratings[test]).sqrt()
    print(f"epoch {epoch:2d}  train mse {loss.item():.3f}  test rmse {rmse.item():.3f}")
