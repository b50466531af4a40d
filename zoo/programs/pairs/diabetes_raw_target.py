# fault: unnormalized-target
# about: The progression score, about 150 on average, is fitted as it is by a network whose output starts at 0.
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes

torch.manual_seed(SEED)
X, y = load_diabetes(return_X_y=True)
X = torch.tensor(X / X.std(0)).float()
y = torch.tensor(y).float().unsqueeze(1)
i = torch.randperm(442)
tr, te = i[:340], i[340:]
mean, std = 0.0, 1.0  # fix: mean, std = y[tr].mean(), y[tr].std()

model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
opt = torch.optim.Adam(model.parameters(), lr=2e-3)
crit = nn.MSELoss()
for e in range(40):
    for b in tr[torch.randperm(len(tr))].split(20):
        loss = crit(model(X[b]), (y[b] - mean) / std)
        opt.zero_grad()
        loss.backward()
        opt.step()
    if not e % 10:
        print("epoch", e, "loss", loss.item())
with torch.no_grad():
    print("metric rmse", (model(X[te]) * std + mean - y[te]).pow(2).mean().sqrt().item(), "lower")
