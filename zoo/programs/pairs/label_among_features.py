# fault: target-leakage
# about: The table still contains the target's own column; the network reads it off and fails on rows where it is unknown.
import numpy as np
import torch
from torch import nn
from sklearn.datasets import load_diabetes

torch.manual_seed(SEED)
rng = np.random.default_rng(SEED)
X, y = load_diabetes(return_X_y=True)
X = X / X.std(0)
t = (y - y.mean()) / y.std()
table = np.concatenate([X, t[:, None] * 2 + 0.3], axis=1)
columns = np.arange(11)  # fix: columns = np.arange(10)
rows = rng.permutation(442)
tr, va, future = rows[:250], rows[250:340], rows[340:]
table[future, 10] = 0.3  # not measured yet
F = torch.tensor(table[:, columns], dtype=torch.float32)
T = torch.tensor(t, dtype=torch.float32).unsqueeze(1)

net = nn.Sequential(nn.Linear(len(columns), 32), nn.ReLU(), nn.Linear(32, 1))
opt = torch.optim.Adam(net.parameters(), lr=3e-3, weight_decay=1e-3)
for epoch in range(20):
    net.train()
    for b in np.array_split(rng.permutation(tr), 12):
        loss = nn.functional.mse_loss(net(F[b]), T[b])
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        val = nn.functional.mse_loss(net(F[va]), T[va]).item()
    if epoch % 5 == 4:
        print("epoch", epoch + 1, "train", loss.item(), "val", val)
with torch.no_grad():
    print("metric mse_in_use", nn.functional.mse_loss(net(F[future]), T[future]).item(), "lower")
