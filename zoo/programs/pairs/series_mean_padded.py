# fault: padding-in-loss
# about: series padded by repeating the last value
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(SEED)
lengths = torch.randint(5, 50, (400,))
steps = torch.arange(50)
mask = steps[None] < lengths[:, None]
x = torch.randn(400, 50, 3)
y = x[..., 0].cumsum(1) / (steps + 1) + 0.5 * torch.tanh(x[..., 1]) + 2
for row, length in enumerate(lengths):
    x[row, length:] = x[row, length - 1]
    y[row, length:] = y[row, length - 1]
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.memory = nn.GRU(3, 32, batch_first=True)
        self.out = nn.Linear(32, 1)
    def forward(self, x):
        return self.out(self.memory(x)[0]).squeeze(-1)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(12):
    for rows in torch.randperm(400).split(20):
        out, kept = model(x[rows]), mask[rows]
        loss = F.mse_loss(out, y[rows])  # fix: loss = F.mse_loss(out[kept], y[rows][kept])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
with torch.no_grad():
    print("metric error", F.mse_loss(model(x)[mask], y[mask]).item(), "lower")
