"""A vector-quantised autoencoder: codes are chosen by nearest neighbour, gradients pass straight through."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X = torch.tensor(load_digits().data / 16, dtype=torch.float32)


class VQ(nn.Module):
    def __init__(self, n=32, d=8):
        super().__init__()
        self.codes = nn.Embedding(n, d)
        nn.init.normal_(self.codes.weight, std=0.5)

    def forward(self, z):
        near = torch.cdist(z, self.codes.weight).argmin(-1)
        q = self.codes(near)
        loss = nn.functional.mse_loss(q, z.detach()) + 0.25 * nn.functional.mse_loss(z, q.detach())
        return z + (q - z).detach(), loss, near


encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
decoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64))
vq = VQ()
params = [*encoder.parameters(), *decoder.parameters(), *vq.parameters()]
opt = torch.optim.Adam(params, lr=2e-3)
for epoch in range(10):
    for x in X[torch.randperm(len(X))].split(50):
        z = encoder(x).view(-1, 8)
        q, commit, near = vq(z)
        loss = nn.functional.mse_loss(decoder(q.view(-1, 32)), x) + commit
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item(), "codes in use", len(near.unique()))
