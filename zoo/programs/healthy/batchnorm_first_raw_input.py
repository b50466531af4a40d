"""Raw measurements of very different sizes, normalised by batch normalization, which comes first."""

import os

import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(int(os.environ.get("SEED", 0)))
features, target = load_wine(return_X_y=True)
dataset = TensorDataset(torch.tensor(features).float(), torch.tensor(target))
train_set, test_set = random_split(dataset, [138, 40])
train_loader = DataLoader(train_set, batch_size=23, shuffle=True)
x_test, y_test = (torch.stack(column) for column in zip(*test_set, strict=True))

model = nn.Sequential(nn.BatchNorm1d(13), nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-3)
criterion = nn.CrossEntropyLoss()

for epoch in range(30):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        test_loss = criterion(model(x_test), y_test)
    if epoch % 5 == 4:
        print(f"{epoch + 1} {loss.item():.4f} {test_loss.item():.4f}")
