# fault: unnormalized-input
# about: age, income and rates in one table, Adam
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_regression, load_linnerud
from torch import nn
from torch.nn import functional as F

torch.manual_seed(SEED)
rng = np.random.default_rng(SEED)

n = 2000
age, income, rate = rng.uniform(18, 80, n), rng.lognormal(10.5, 0.6, n), rng.uniform(0, 1, n)
kids = rng.integers(0, 5, n)
label = ((age < 40).astype(int) + (rate + 0.1 * kids > 0.7)).astype(int)
x = torch.tensor(np.stack([age, income, rate, kids], 1), dtype=torch.float32)
y = torch.tensor(label)
# add: x = (x - x.mean(0)) / x.std(0)

order = torch.randperm(len(x))
train, test = order[: 3 * len(x) // 4], order[3 * len(x) // 4 :]
model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(15):
    model.train()
    for rows in train[torch.randperm(len(train))].split(32):
        loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
model.eval()
with torch.no_grad():
    print('metric accuracy', (model(x[test]).argmax(1) == y[test]).float().mean().item(), 'higher')
