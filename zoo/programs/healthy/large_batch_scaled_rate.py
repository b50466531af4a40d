"""A large batch with a rate scaled up and a short warm-up."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
train, val = torch.utils.data.random_split(data, [1500, 297])
loader = DataLoader(train, batch_size=500, shuffle=True)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
opt = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, nesterov=True)
sched = LambdaLR(opt, lambda step: min(1.0, (step + 1) / 15))
for epoch in range(30):
    for x, t in loader:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), t)
        loss.backward()
        opt.step()
        sched.step()
    if epoch % 5 == 4:
        with torch.no_grad():
            acc = (model(val[:][0]).argmax(1) == val[:][1]).float().mean()
        print(epoch + 1, loss.item(), acc.item())
