# fault: unregistered-modules, parameters-not-in-optimizer
# about: Embeddings for each categorical column stand in a plain dict and are never trained.
import torch
import torch.nn as nn

torch.manual_seed(SEED)
N = 1500
gen = torch.Generator().manual_seed(SEED)
cats = {"shop": 40, "item": 60, "weekday": 7}
true = {k: torch.randn(n, generator=gen) for k, n in cats.items()}
cols = {k: torch.randint(0, n, (N,), generator=gen) for k, n in cats.items()}
y = sum(true[k][cols[k]] for k in cats) / 3 ** 0.5 + 0.1 * torch.randn(N, generator=gen)


class TabularModel(nn.Module):
    def __init__(self, dim=4):
        super().__init__()
        self.tables = {k: nn.Embedding(n, dim) for k, n in cats.items()}  # fix: self.tables = nn.ModuleDict({k: nn.Embedding(n, dim) for k, n in cats.items()})
        self.mlp = nn.Sequential(nn.Linear(dim * len(cats), 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, batch):
        e = torch.cat([self.tables[k](batch[k]) for k in cats], 1)
        return self.mlp(e).squeeze(1)


model = TabularModel()
opt = torch.optim.Adam(model.parameters(), lr=0.01)
take = lambda rows: {k: v[rows] for k, v in cols.items()}
for epoch in range(15):
    tot = 0
    for rows in torch.randperm(1200).split(40):
        loss = nn.functional.mse_loss(model(take(rows)), y[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
        tot += loss.item()
    print("epoch", epoch, "mse", round(tot / 30, 4))
with torch.no_grad():
    rows = torch.arange(1200, N)
    print("metric test_mse", nn.functional.mse_loss(model(take(rows)), y[rows]).item(), "lower")
