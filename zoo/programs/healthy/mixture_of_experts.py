"""Four experts, of which the gate picks the best two for each sample, with a loss that balances their load."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))


class MoE(nn.Module):
    def __init__(self, d, n=4, k=2):
        super().__init__()
        self.gate = nn.Linear(d, n)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(d, 48), nn.ReLU(), nn.Linear(48, d)) for _ in range(n))
        self.k = k

    def forward(self, x):
        probs = self.gate(x).softmax(-1)
        top, which = probs.topk(self.k, -1)
        top = top / top.sum(-1, keepdim=True)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            rows, slot = (which == i).nonzero(as_tuple=True)
            if len(rows):
                out = out.index_add(0, rows, top[rows, slot, None] * expert(x[rows]))
        share = torch.nn.functional.one_hot(which[:, 0], len(self.experts)).float().mean(0)
        return out, len(self.experts) * (share * probs.mean(0)).sum()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp, self.moe, self.norm, self.out = nn.Linear(64, 64), MoE(64), nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x):
        h = torch.relu(self.inp(x))
        mixed, balance = self.moe(h)
        return self.out(self.norm(h + mixed)), balance


X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16).float(), torch.tensor(y)
p = torch.randperm(len(X))
net = Net()
opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
for epoch in range(6):
    net.train()
    for rows in p[:1400][torch.randperm(1400)].split(40):
        scores, balance = net(X[rows])
        loss = nn.functional.cross_entropy(scores, y[rows]) + 0.01 * balance
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        acc = (net(X[p[1400:]])[0].argmax(1) == y[p[1400:]]).float().mean()
    print(epoch, loss.item(), balance.item(), acc.item())
