# fault: labels-unrelated-to-inputs
# about: Inputs and labels are shuffled with two different permutations.
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

np.random.seed(SEED)
torch.manual_seed(SEED)
X, y = load_digits(return_X_y=True)
X = X.astype(np.float32) / 16
test_X, test_y = torch.from_numpy(X[1500:]), torch.from_numpy(y[1500:])
X, y = X[:1500], y[:1500]
order = np.random.permutation(len(X))
X = X[order]
order = np.random.permutation(len(X))  # fix:
y = y[order]

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
opt = torch.optim.Adam(model.parameters(), lr=1e-3)
loss_fn = nn.CrossEntropyLoss()
train_X, train_y = torch.from_numpy(X[:1300]), torch.from_numpy(y[:1300])
val_X, val_y = torch.from_numpy(X[1300:]), torch.from_numpy(y[1300:])
for epoch in range(12):
    model.train()
    for i in range(0, 1300, 50):
        opt.zero_grad()
        loss = loss_fn(model(train_X[i:i + 50]), train_y[i:i + 50])
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        print(f"epoch {epoch} train {loss.item():.3f} val {loss_fn(model(val_X), val_y).item():.3f}")
with torch.no_grad():
    print("metric test_accuracy", (model(test_X).argmax(1) == test_y).float().mean().item(), "higher")
