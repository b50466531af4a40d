# fault: output-activation-limits-range, unnormalized-target
# about: Disease progression (25 to 346) is predicted through a sigmoid, which ends at 1.
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

torch.manual_seed(SEED)
X, y = load_diabetes(return_X_y=True, scaled=False)
X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=SEED)
scaler = StandardScaler()
X_train = torch.tensor(scaler.fit_transform(X_train), dtype=torch.float)
X_val = torch.tensor(scaler.transform(X_val), dtype=torch.float)
y_train = torch.tensor(y_train, dtype=torch.float).reshape(-1, 1)
y_val = torch.tensor(y_val, dtype=torch.float).reshape(-1, 1)
low, high = y_train.min(), y_train.max()

net = nn.Sequential(
    nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1), nn.Sigmoid(),
)


def target(y):
    return y  # fix: return (y - low) / (high - low)


def answer(out):
    return out  # fix: return out * (high - low) + low


opt = torch.optim.Adam(net.parameters(), lr=5e-3)
crit = nn.MSELoss()
for epoch in range(60):
    p = torch.randperm(len(X_train))
    epoch_loss = 0
    for b in range(0, len(p), 32):
        rows = p[b:b + 32]
        opt.zero_grad()
        loss = crit(net(X_train[rows]), target(y_train[rows]))
        loss.backward()
        opt.step()
        epoch_loss += loss.item()
    if epoch % 15 == 0:
        print("Epoch %d, loss: %.3f" % (epoch, epoch_loss))
with torch.no_grad():
    print("metric mae", (answer(net(X_val)) - y_val).abs().mean().item(), "lower")
