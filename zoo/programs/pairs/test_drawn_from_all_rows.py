# fault: train-test-overlap
# about: The index lists of training and test set are both drawn from all rows.
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
rng = np.random.RandomState(SEED)
X, y = load_digits(return_X_y=True)
noisy = X / 16 + rng.normal(0, 0.6, X.shape)
data = TensorDataset(torch.tensor(noisy, dtype=torch.float32), torch.tensor(y))
everything = rng.permutation(len(data))
pool, fresh = everything[:900], everything[900:]
train_idx = rng.choice(pool, 700, replace=False)
test_idx = rng.choice(pool, 200, replace=False)  # fix: test_idx = np.setdiff1d(pool, train_idx)
train_loader = DataLoader(Subset(data, train_idx.tolist()), batch_size=35, shuffle=True)
test_loader = DataLoader(Subset(data, test_idx.tolist()), batch_size=50)


def accuracy(net, loader):
    good = n = 0
    for x, y in loader:
        out = net(x)
        nn.functional.cross_entropy(out, y)
        good += (out.argmax(1) == y).sum().item()
        n += len(y)
    return good / n


net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
opt = torch.optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(7):
    net.train()
    for x, y in train_loader:
        opt.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        told = accuracy(net, test_loader)
    if epoch % 2:
        print("epoch", epoch + 1, "test accuracy", told)
with torch.no_grad():
    real = accuracy(net, DataLoader(Subset(data, fresh.tolist()), batch_size=100))
print("metric optimism_of_test", told - real, "lower")
