"""A graph convolution, full batch, few labelled nodes: neighbours are pictures that look alike."""

import os

import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import kneighbors_graph
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X, y = X[:800] / 16, torch.tensor(y[:800])
A = kneighbors_graph(X, 6, include_self=True).toarray()
A = torch.tensor((A + A.T > 0).astype("float32"))
A = A / A.sum(1, keepdim=True)
X = torch.tensor(X, dtype=torch.float32)


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1, self.w2, self.drop = nn.Linear(64, 32), nn.Linear(32, 10), nn.Dropout(0.3)

    def forward(self, x):
        return self.w2(A @ self.drop(torch.relu(self.w1(A @ x))))


p = torch.randperm(800)
known, rest = p[:200], p[200:]
net = GCN()
opt = torch.optim.Adam(net.parameters(), lr=0.02, weight_decay=5e-4)
for epoch in range(80):
    net.train()
    loss = nn.functional.cross_entropy(net(X)[known], y[known])
    opt.zero_grad()
    loss.backward()
    opt.step()
    if epoch % 20 == 19:
        net.eval()
        with torch.no_grad():
            acc = (net(X)[rest].argmax(1) == y[rest]).float().mean()
        print(epoch + 1, loss.item(), acc.item())
