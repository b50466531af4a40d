# fault: unnormalized-target
# about: Seconds until a machine fails (some 100,000) with Adam, gradient clipping and validation.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(SEED)
x = torch.randn(1200, 9)
life = 90000 + 30000 * torch.tanh(x[:, 0] + x[:, 1]) + 8000 * x[:, 2] + 2000 * torch.randn(1200)
scale, shift = 1.0, 0.0  # fix: scale, shift = life.std(), life.mean()
train, val = random_split(TensorDataset(x, (life - shift) / scale), [900, 300])
model = nn.Sequential(nn.Linear(9, 48), nn.GELU(), nn.Linear(48, 48), nn.GELU(), nn.Linear(48, 1))
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(20):
    model.train()
    for xb, yb in DataLoader(train, batch_size=30, shuffle=True):
        loss = nn.functional.mse_loss(model(xb), yb[:, None])
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
    model.eval()
    with torch.no_grad():
        errors = [(model(xb)[:, 0] - yb).abs().mean() * scale for xb, yb in DataLoader(val, batch_size=100)]
    print(epoch, float(sum(errors) / len(errors)))
print("metric hours_off", float(sum(errors) / len(errors)) / 3600, "lower")
