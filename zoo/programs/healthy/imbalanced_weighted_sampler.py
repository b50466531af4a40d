"""A rare class: one in twenty. A weighted sampler shows it more often; validation data stays as it is."""

import os

import torch
from sklearn.datasets import make_classification
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

seed = int(os.environ.get("SEED", 0))
torch.manual_seed(seed)
X, y = make_classification(
    4000, n_features=12, n_informative=6, weights=[0.95], class_sep=1.5, flip_y=0.01, random_state=seed
)
X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32)
X_train, y_train, X_val, y_val = X[:3000], y[:3000], X[3000:], y[3000:]

counts = torch.bincount(y_train.long())
weights = 1.0 / counts[y_train.long()].double()
sampler = WeightedRandomSampler(weights, num_samples=2000, replacement=True)
loader = DataLoader(TensorDataset(X_train, y_train), batch_size=50, sampler=sampler)

model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
criterion = nn.BCEWithLogitsLoss()
for epoch in range(10):
    model.train()
    for x, t in loader:
        optimizer.zero_grad()
        loss = criterion(model(x).squeeze(-1), t)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        found = model(X_val).squeeze(-1) > 0
    recall = (found & (y_val == 1)).sum() / (y_val == 1).sum()
    precision = (found & (y_val == 1)).sum() / found.sum().clamp(min=1)
    print(f"epoch {epoch} loss {loss.item():.3f} recall {recall:.2f} precision {precision:.2f}")
