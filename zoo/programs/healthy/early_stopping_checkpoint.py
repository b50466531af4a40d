"""Early stopping on the validation loss, with the best weights kept on disk and loaded at the end."""

import copy
import os
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(int(os.environ.get("SEED", 0)))
raw, labels = load_breast_cancer(return_X_y=True)
x = torch.tensor((raw - raw.mean(0)) / raw.std(0)).float()
dataset = TensorDataset(x, torch.tensor(labels))
train_set, val_set, test_set = random_split(dataset, [340, 115, 114])

model = nn.Sequential(nn.Linear(30, 20), nn.LeakyReLU(), nn.Dropout(0.3), nn.Linear(20, 2))
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()


def run_epoch(loader, train):
    model.train(train)
    total = 0.0
    with torch.set_grad_enabled(train):
        for inputs, targets in loader:
            loss = criterion(model(inputs), targets)
            if train:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total += loss.item() * len(targets)
    return total / len(loader.dataset)


with tempfile.TemporaryDirectory() as folder:
    checkpoint, best, patience = Path(folder) / "best.pt", float("inf"), 0
    for epoch in range(40):
        train_loss = run_epoch(DataLoader(train_set, 20, shuffle=True), train=True)
        val_loss = run_epoch(DataLoader(val_set, 115), train=False)
        print(f"epoch {epoch} train {train_loss:.4f} val {val_loss:.4f}")
        if val_loss < best:
            best, patience = val_loss, 0
            torch.save({"model": model.state_dict(), "optimizer": copy.deepcopy(optimizer.state_dict())}, checkpoint)
        else:
            patience += 1
            if patience == 5:
                break
    model.load_state_dict(torch.load(checkpoint)["model"])
print("test", run_epoch(DataLoader(test_set, 114), train=False))
