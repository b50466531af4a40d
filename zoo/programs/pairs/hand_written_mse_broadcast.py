# fault: target-shape-broadcast
# about: A hand-written mean squared error subtracts a column from a row; every pair of samples counts.
import numpy as np
import torch
from sklearn.datasets import load_linnerud, load_diabetes

rng = np.random.RandomState(SEED)
torch.manual_seed(SEED)
X, y = load_diabetes(return_X_y=True)
X = X * 20.0
y = (y - 152.0) / 77.0
ids = rng.permutation(442)
X = torch.from_numpy(X[ids]).float()
y = torch.from_numpy(y[ids]).float()

w1 = torch.nn.Parameter(torch.randn(10, 12) * 0.3)
b1 = torch.nn.Parameter(torch.zeros(12))
w2 = torch.nn.Parameter(torch.randn(12, 1) * 0.3)
b2 = torch.nn.Parameter(torch.zeros(1))


def forward(x):
    hidden = torch.sigmoid(x @ w1 + b1)
    return hidden @ w2 + b2


def mse(y_pred, y_true):
    y_true = y_true.reshape(-1)  # fix: y_true = y_true.reshape(-1, 1)
    return ((y_pred - y_true) ** 2).mean()


optimizer = torch.optim.Adam([w1, b1, w2, b2], lr=0.01)
for step in range(400):
    pick = torch.randint(0, 340, (32,))
    loss = mse(forward(X[pick]), y[pick])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print("step", step, "loss", loss.item())
with torch.no_grad():
    final = (forward(X[340:]).flatten() - y[340:]).square().mean()
print("metric mse", final.item(), "lower")
