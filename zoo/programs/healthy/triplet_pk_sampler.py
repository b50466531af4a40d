"""Metric learning: batches of P classes with K samples each, hardest triplets within a batch."""

import os
import random

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

seed = int(os.environ.get("SEED", 0))
torch.manual_seed(seed)
random.seed(seed)


class PKSampler(Sampler):
    """Each batch: P classes one after the other, K samples of each."""

    def __init__(self, labels, p=5, k=8, batches=30):
        self.by_class = {int(c): (labels == c).nonzero().flatten().tolist() for c in labels.unique()}
        self.p, self.k, self.batches = p, k, batches

    def __iter__(self):
        for _ in range(self.batches):
            classes = random.sample(sorted(self.by_class), self.p)
            yield [i for c in classes for i in random.sample(self.by_class[c], self.k)]

    def __len__(self):
        return self.batches


def batch_hard_triplet_loss(embeddings, labels, margin=0.3):
    distances = torch.cdist(embeddings, embeddings)
    same = labels[:, None] == labels[None, :]
    hardest_positive = (distances * same).max(dim=1).values
    hardest_negative = distances.masked_fill(same, float("inf")).min(dim=1).values
    return F.relu(hardest_positive - hardest_negative + margin).mean()


images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images / 8 - 1, dtype=torch.float32), torch.tensor(labels)
loader = DataLoader(TensorDataset(images[:1400], labels[:1400]), batch_sampler=PKSampler(labels[:1400]))
net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 16))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

for epoch in range(8):
    net.train()
    for x, y in loader:
        loss = batch_hard_triplet_loss(F.normalize(net(x), dim=1), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        gallery, query = F.normalize(net(images[:1400]), dim=1), F.normalize(net(images[1400:]), dim=1)
        nearest = torch.cdist(query, gallery).argmin(dim=1)
    print(epoch, loss.item(), "recall@1", (labels[:1400][nearest] == labels[1400:]).float().mean().item())
