# fault: dropout-too-strong
# about: Dropout of 0.8 on the input and after each of three narrow hidden layers; only a test accuracy at the end.
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

torch.manual_seed(SEED)
X, y = load_breast_cancer(return_X_y=True)
X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32)[:, None]
p = torch.randperm(len(X))
X, y = X[p], y[p]
rate = 0.8  # fix: rate = 0.1
layers = [nn.Dropout(rate)]
for i, o in ((30, 16), (16, 16), (16, 16)):
    layers += [nn.Linear(i, o), nn.ReLU(), nn.Dropout(rate)]
net = nn.Sequential(*layers, nn.Linear(16, 1))
opt = torch.optim.RMSprop(net.parameters(), lr=1e-3)
crit = nn.BCEWithLogitsLoss()
for epoch in range(25):
    for i in range(0, 450, 30):
        opt.zero_grad()
        crit(net(X[i : i + 30]), y[i : i + 30]).backward()
        opt.step()
net.eval()
with torch.no_grad():
    nll = crit(net(X[450:]), y[450:]).item()
print(f"metric nll {nll:.4f} lower")
