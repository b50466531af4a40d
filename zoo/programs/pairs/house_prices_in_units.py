# fault: unnormalized-target, learning-rate-too-high, exploding-gradients
# about: House prices in whole currency units (hundreds of thousands) with SGD: the first step already throws the weights away.
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.default_rng(SEED)
torch.manual_seed(SEED)
n = 800
area, rooms, age = rng.uniform(40, 200, n), rng.integers(1, 7, n), rng.uniform(0, 60, n)
price = 2500 * area + 12000 * rooms - 1800 * age + 0.02 * area**2 * (60 - age) * 10 + rng.normal(0, 15000, n) + 50000
features = np.stack([area, rooms, age], 1)
features = ((features - features.mean(0)) / features.std(0)).astype("float32")
price = price.astype("float32")[:, None]
SCALE = 1.0  # fix: SCALE = 1e5
SHIFT = 0.0  # fix: SHIFT = float(price.mean())

ds = TensorDataset(torch.from_numpy(features), torch.from_numpy(price))
train, test = torch.utils.data.random_split(ds, [600, 200])


class HousePrice(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(3, 24)
        self.out = nn.Linear(24, 1)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))


model = HousePrice()
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
for epoch in range(15):
    for x, y in DataLoader(train, batch_size=30, shuffle=True):
        loss = nn.functional.mse_loss(model(x), (y - SHIFT) / SCALE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
with torch.no_grad():
    x, y = test[:]
    print("metric mean_absolute_error", (model(x) * SCALE + SHIFT - y).abs().mean().item(), "lower")
