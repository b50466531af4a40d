"""Several labels for each sample: binary cross-entropy on scores, for five independent classes."""

import os

import torch
from sklearn.datasets import make_multilabel_classification
from sklearn.preprocessing import scale
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

seed = int(os.environ.get("SEED", 0))
torch.manual_seed(seed)
X, Y = make_multilabel_classification(n_samples=1500, n_features=20, n_classes=5, random_state=seed)
dataset = TensorDataset(torch.tensor(scale(X), dtype=torch.float32), torch.tensor(Y, dtype=torch.float32))
train_set, val_set = random_split(dataset, [0.8, 0.2])
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
val_loader = DataLoader(val_set, batch_size=100, shuffle=False)

model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)

for epoch in range(15):
    model.train()
    for features, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(features), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    val_loss = 0.0
    with torch.no_grad():
        for features, labels in val_loader:
            val_loss += criterion(model(features), labels).item() / len(val_loader)
    print(f"{epoch + 1:2d} train {loss.item():.4f} val {val_loss:.4f}")
