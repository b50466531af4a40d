# fault: unshuffled-data
# about: A spreadsheet sorted by the target is read in order, so each epoch ends with the sickest patients.
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_diabetes

torch.manual_seed(SEED)
X, y = load_diabetes(return_X_y=True)
rng = np.random.default_rng(SEED)
held_out = rng.permutation(442)[:100]
X = X / X.std(0)
y = (y - y.mean()) / y.std()
rest = np.setdiff1d(np.arange(442), held_out)
rest = rest[np.argsort(y[rest])]
tensors = TensorDataset(torch.tensor(X[rest]).float(), torch.tensor(y[rest]).float().unsqueeze(1))
loader = DataLoader(tensors, batch_size=16)  # fix: loader = DataLoader(tensors, batch_size=16, shuffle=True)

net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.5)
for epoch in range(15):
    for xb, yb in loader:
        loss = nn.functional.mse_loss(net(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print('epoch', epoch + 1, 'loss of last batch', round(loss.item(), 4))
with torch.no_grad():
    xv, yv = torch.tensor(X[held_out]).float(), torch.tensor(y[held_out]).float().unsqueeze(1)
    print('metric held_out_mse', nn.functional.mse_loss(net(xv), yv).item(), 'lower')
