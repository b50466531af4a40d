# fault: learning-rate-too-high
# about: Matrix factorisation of how often pixels go together, trained by SGD with a rate of 400; ratings blow up.
import torch
from torch import nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
D = torch.tensor(load_digits().data, dtype=torch.float32)
users, items = torch.meshgrid(torch.arange(300), torch.arange(64), indexing="ij")
rating = D[:300].flatten() / 16 - D.mean() / 16
users, items = users.flatten(), items.flatten()
p = torch.randperm(len(rating))
tr, te = p[:15000], p[15000:]


class MF(nn.Module):
    def __init__(self, n_users, n_items, k=8):
        super().__init__()
        self.u, self.i = nn.Embedding(n_users, k), nn.Embedding(n_items, k)
        self.bi = nn.Embedding(n_items, 1)
        for e in (self.u, self.i):
            nn.init.normal_(e.weight, std=0.3)
        nn.init.zeros_(self.bi.weight)

    def forward(self, u, i):
        return (self.u(u) * self.i(i)).sum(1) + self.bi(i).squeeze(1)


net = MF(300, 64)
opt = torch.optim.SGD(net.parameters(), lr=400.0)  # fix: opt = torch.optim.SGD(net.parameters(), lr=40.0)
for epoch in range(8):
    tot = 0.0
    for b in tr[torch.randperm(len(tr))].split(300):
        loss = ((net(users[b], items[b]) - rating[b]) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        tot += loss.item()
    print("epoch", epoch, "train mse", tot / 50)
with torch.no_grad():
    print("metric test_mse", ((net(users[te], items[te]) - rating[te]) ** 2).mean().item(), "lower")
