# fault: too-few-epochs
# about: early stopping with patience 1 on the noisy loss of one small batch
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, fetch_california_housing
from torch import nn
from torch.nn import functional as F

torch.manual_seed(SEED)

data = load_digits()
x = torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1)
y = torch.tensor(data.target)
order = torch.randperm(len(x))
train, test = order[:1400], order[1400:]

model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 32), nn.ReLU(), nn.Linear(32, 10))

optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
best, waited, patience = 1e9, 0, 1  # fix: best, waited, patience = 1e9, 0, 40
for epoch in range(60):
    for rows in train[torch.randperm(1400)].split(64):
        loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with torch.no_grad():
        some = test[torch.randperm(len(test))[:8]]
        level = F.cross_entropy(model(x[some]), y[some]).item()
    waited = 0 if level < best else waited + 1
    best = min(best, level)
    if waited >= patience:
        break

with torch.no_grad():
    print("metric accuracy", (model(x[test]).argmax(1) == y[test]).float().mean().item(), "higher")
