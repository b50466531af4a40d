"""Transfer: a network learns the digits 0 to 4, is frozen, and a new head learns 5 to 9."""

import os

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", 0)))


def split_by_class(low, high):
    X, y = load_digits(return_X_y=True)
    keep = (y >= low) & (y < high)
    X = torch.tensor(X[keep] / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    y = torch.tensor(y[keep] - low)
    order = torch.randperm(len(X))
    cut = int(0.8 * len(X))
    train = TensorDataset(X[order[:cut]], y[order[:cut]])
    return DataLoader(train, batch_size=32, shuffle=True), (X[order[cut:]], y[order[cut:]])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
        )
        self.fc = nn.Linear(32 * 16, 5)

    def forward(self, x):
        return self.fc(self.backbone(x).flatten(1))


def fit(model, optimizer, loader, val, epochs):
    criterion = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            acc = (model(val[0]).argmax(1) == val[1]).float().mean()
        print(f"epoch {epoch} loss {loss:.4f} val acc {acc:.4f}")


model = Net()
fit(model, torch.optim.Adam(model.parameters(), lr=2e-3), *split_by_class(0, 5), epochs=6)

for param in model.parameters():
    param.requires_grad = False
model.fc = nn.Linear(32 * 16, 5)
trainable = filter(lambda p: p.requires_grad, model.parameters())
fit(model, torch.optim.Adam(trainable, lr=2e-3), *split_by_class(5, 10), epochs=8)
