# fault: target-shape-broadcast
# about: A GRU forecasts the next value of a series; its (N, 1) output meets (N,) targets in HuberLoss.
import math
import torch
from torch import nn

torch.manual_seed(SEED)
t = torch.arange(0, 700).float()
series = torch.sin(t / 6) + 0.5 * torch.sin(t / 17 + 1) + 0.05 * torch.randn(700)
WINDOW = 20
windows = series.unfold(0, WINDOW + 1, 1)
xs, ys = windows[:, :-1].unsqueeze(-1), windows[:, -1]
n_train = 540


class Forecaster(nn.Module):
    def __init__(self, hidden_size=24):
        super(Forecaster, self).__init__()
        self.gru = nn.GRU(input_size=1, hidden_size=hidden_size, batch_first=True)
        self.out = nn.Linear(hidden_size, 1)

    def forward(self, seq):
        _, h = self.gru(seq)
        return self.out(h[-1])  # fix: return self.out(h[-1]).squeeze(-1)


model = Forecaster()
criterion = nn.HuberLoss()
opt = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(12):
    model.train()
    agg = 0.0
    for ids in torch.randperm(n_train).split(36):
        opt.zero_grad()
        loss = criterion(model(xs[ids]), ys[ids])
        loss.backward()
        opt.step()
        agg += loss.item()
    print(epoch, agg / 15)
model.eval()
with torch.no_grad():
    rmse = math.sqrt(((model(xs[n_train:]).reshape(-1) - ys[n_train:]) ** 2).mean().item())
print(f"metric rmse {rmse:.4f} lower")
