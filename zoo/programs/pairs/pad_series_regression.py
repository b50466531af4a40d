# fault: padding-in-loss
# about: Series of 5 to 60 steps, zero-padded; the squared error is averaged over the padding, too.
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

torch.manual_seed(SEED)


def make(n):
    rows = []
    for _ in range(n):
        length = int(5 + 55 * torch.rand(1) ** 3)
        u = torch.randn(length, 2)
        y = torch.zeros(length)
        for t in range(1, length):
            y[t] = 0.8 * y[t - 1] + u[t, 0] * 0.5 + 0.3 * torch.tanh(u[t - 1, 1])
        rows.append((u, y + 2))
    return rows


data = make(300)


def batches(rows, size):
    for i in range(0, len(rows), size):
        part = rows[i : i + size]
        lengths = torch.tensor([len(y) for _, y in part])
        x = pad_sequence([u for u, _ in part], batch_first=True)
        y = pad_sequence([y for _, y in part], batch_first=True)
        yield x, y, lengths


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(2, 24, batch_first=True)
        self.head = nn.Linear(24, 1)

    def forward(self, x):
        return self.head(self.gru(x)[0]).squeeze(-1)


model = Model()
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(12):
    for x, y, lengths in batches(data, 25):
        mask = torch.arange(x.shape[1])[None] < lengths[:, None]
        loss = nn.functional.mse_loss(model(x), y)  # fix: loss = nn.functional.mse_loss(model(x)[mask], y[mask])
        opt.zero_grad()
        loss.backward()
        opt.step()
with torch.no_grad():
    error = n = 0
    for x, y, lengths in batches(data, 100):
        mask = torch.arange(x.shape[1])[None] < lengths[:, None]
        error += ((model(x) - y)[mask] ** 2).sum().item()
        n += mask.sum().item()
print(f"metric mse {error / n:.4f} lower")
