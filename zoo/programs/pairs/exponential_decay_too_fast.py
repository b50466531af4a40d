# fault: learning-rate-decayed-away
# about: An ExponentialLR with gamma 0.5 each epoch has taken the rate to a thousandth while the loss still falls.
import torch
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR
from sklearn.datasets import load_breast_cancer

torch.manual_seed(SEED)
X, y = load_breast_cancer(return_X_y=True)
X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32)
perm = torch.randperm(569)
X, y = X[perm], y[perm]
EPOCHS = 30

net = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.02)
scheduler = ExponentialLR(opt, gamma=0.5)  # fix: scheduler = ExponentialLR(opt, gamma=0.97)
bce = nn.BCEWithLogitsLoss()
for epoch in range(EPOCHS):
    for i in range(0, 420, 20):
        loss = bce(net(X[i:i + 20]).squeeze(1), y[i:i + 20])
        opt.zero_grad()
        loss.backward()
        opt.step()
    scheduler.step()
    if epoch % 5 == 0:
        print(f"epoch {epoch} lr {scheduler.get_last_lr()[0]:.2e} loss {loss.item():.4f}")
with torch.no_grad():
    print("metric val_bce", bce(net(X[420:]).squeeze(1), y[420:]).item(), "lower")
