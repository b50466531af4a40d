"""A cosine schedule that starts again twice: the loss rises a little at each restart, as it should."""

import os

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts
from torch.utils.data import DataLoader, TensorDataset

seed = int(os.environ.get("SEED", 0))
torch.manual_seed(seed)
X, y = load_wine(return_X_y=True)
X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.3, random_state=seed, stratify=y)
scaler = StandardScaler().fit(X_tr)
X_tr, X_te = (torch.tensor(scaler.transform(a), dtype=torch.float32) for a in (X_tr, X_te))
y_tr, y_te = torch.tensor(y_tr), torch.tensor(y_te)

loader = DataLoader(TensorDataset(X_tr, y_tr), batch_size=16, shuffle=True)
net = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=10)

for epoch in range(30):
    net.train()
    for i, (x, t) in enumerate(loader):
        optimizer.zero_grad()
        loss = criterion(net(x), t)
        loss.backward()
        optimizer.step()
        scheduler.step(epoch + i / len(loader))
    net.eval()
    with torch.no_grad():
        test_loss = criterion(net(X_te), y_te)
    print(f"{epoch:2d} lr {optimizer.param_groups[0]['lr']:.4f} loss {loss:.4f} test {test_loss:.4f}")
