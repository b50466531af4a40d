# fault: unnormalized-input
# about: a GRU on raw daily sales of some thousands
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_regression, load_linnerud
from torch import nn
from torch.nn import functional as F

torch.manual_seed(SEED)
rng = np.random.default_rng(SEED)

t = np.arange(1400)
sales = 4000 + 800 * np.sin(t * 2 * np.pi / 7) + 300 * np.sin(t * 2 * np.pi / 30) + rng.normal(0, 80, len(t))
windows = np.stack([sales[i : i + 21] for i in range(len(t) - 21)])
x = torch.tensor(windows[:, :20, None], dtype=torch.float32)
y = torch.tensor((windows[:, 20] - 4000) / 600, dtype=torch.float32)
x = x * 1.0  # fix: x = (x - x.mean()) / x.std()

order = torch.randperm(len(x))
train, test = order[: 3 * len(x) // 4], order[3 * len(x) // 4 :]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.memory = nn.GRU(1, 32, batch_first=True)
        self.out = nn.Linear(32, 1)
    def forward(self, x):
        return self.out(self.memory(x)[0][:, -1])
model = Net()

optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(12):
    model.train()
    for rows in train[torch.randperm(len(train))].split(32):
        loss = F.mse_loss(model(x[rows]).squeeze(-1), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
model.eval()
with torch.no_grad():
    print('metric error', F.mse_loss(model(x[test]).squeeze(-1), y[test]).item(), 'lower')
