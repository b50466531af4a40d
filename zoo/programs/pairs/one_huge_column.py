# fault: unnormalized-input
# about: one column of large counts among standard ones, regression with SGD
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_regression, load_linnerud
from torch import nn
from torch.nn import functional as F

torch.manual_seed(SEED)
rng = np.random.default_rng(SEED)

n = 1500
z = rng.normal(0, 1, (n, 8))
label = np.tanh(z[:, 1]) + z[:, 2] * 0.5 + 0.3 * z[:, 0]
z[:, 0] = 5e4 + 2e4 * z[:, 0]
x = torch.tensor(z, dtype=torch.float32)
y = torch.tensor(label, dtype=torch.float32)
# add: x = (x - x.mean(0)) / x.std(0)

order = torch.randperm(len(x))
train, test = order[: 3 * len(x) // 4], order[3 * len(x) // 4 :]
model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for epoch in range(15):
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
