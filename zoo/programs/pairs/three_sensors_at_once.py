# fault: unnormalized-target
# about: Pressure (pascal), temperature and humidity (0 to 1) predicted at once from eight readings.
import torch
from torch import nn

torch.manual_seed(SEED)
x = torch.randn(1500, 8)
clean = torch.stack([x[:, 0] + 0.2 * x[:, 1], torch.sin(x[:, 2]) + x[:, 3], x[:, 4] * x[:, 5]], 1)
y = clean * torch.tensor([500.0, 4.0, 0.1]) + torch.tensor([0.0, 0.0, 0.5])
mean, std = torch.zeros(3), torch.ones(3)  # fix: mean, std = y.mean(0), y.std(0)


class Sensors(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        return self.head(self.trunk(x))


net = Sensors()
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, (y - mean) / std), batch_size=50, shuffle=True)
for epoch in range(20):
    for xb, yb in loader:
        opt.zero_grad()
        loss = nn.MSELoss()(net(xb), yb)
        loss.backward()
        opt.step()
with torch.no_grad():
    p = net(x) * std + mean
    print("metric humidity_unexplained", (((p - y) ** 2).mean(0) / y.var(0))[2].item(), "lower")
