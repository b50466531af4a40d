# fault: future-leakage, target-leakage
# about: The window of a forecaster ends one step too late and contains the value to be forecast.
import torch
from torch import nn

torch.manual_seed(SEED)
n = 900
noise = torch.randn(n)
series = torch.zeros(n)
for t in range(2, n):
    series[t] = 1.2 * series[t - 1] - 0.5 * series[t - 2] + 0.5 * noise[t]
LAGS = 10


def dataset(start, stop):
    xs, ys = [], []
    for t in range(start + LAGS + 1, stop):
        xs.append(series[t - LAGS + 1:t + 1])  # fix: xs.append(series[t - LAGS:t])
        ys.append(series[t])
    return torch.stack(xs), torch.stack(ys).unsqueeze(1)


class CNN1d(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 16, 3)
        self.fc = nn.Linear(16 * 8, 1)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x.unsqueeze(1))).flatten(1))


x, y = dataset(0, 600)
xv, yv = dataset(600, 750)
model = CNN1d()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(20):
    model.train()
    for rows in torch.randperm(len(x)).split(40):
        loss = nn.functional.mse_loss(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val = nn.functional.mse_loss(model(xv), yv).item()
    if epoch % 5 == 4:
        print(epoch + 1, loss.item(), val)
# in use the latest known value is at t - 1
with torch.no_grad():
    live_x = torch.stack([series[t - LAGS:t] for t in range(770, n)])
    live_y = series[770:n].unsqueeze(1)
    print('metric live_mse', nn.functional.mse_loss(model(live_x), live_y).item(), 'lower')
