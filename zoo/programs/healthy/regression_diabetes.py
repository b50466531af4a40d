"""Regression on diabetes with a standardised target; weight decay keeps the gap small."""

import os

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

seed = int(os.environ.get("SEED", 0))
torch.manual_seed(seed)
np.random.seed(seed)

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y.reshape(-1, 1), test_size=0.25, random_state=seed)
x_scaler, y_scaler = StandardScaler(), StandardScaler()
X_train = torch.FloatTensor(x_scaler.fit_transform(X_train))
X_test = torch.FloatTensor(x_scaler.transform(X_test))
y_train = torch.FloatTensor(y_scaler.fit_transform(y_train))
y_test = torch.FloatTensor(y_scaler.transform(y_test))

model = nn.Sequential(nn.Linear(10, 16), nn.SiLU(), nn.Linear(16, 1))
criterion = nn.MSELoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
loader = DataLoader(TensorDataset(X_train, y_train), batch_size=32, shuffle=True)

for epoch in range(14):
    model.train()
    epoch_loss = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * inputs.size(0)
    model.eval()
    with torch.no_grad():
        test_loss = criterion(model(X_test), y_test).item()
    if epoch % 2 == 1:
        print(f"Epoch [{epoch + 1}/14] train {epoch_loss / len(X_train):.4f} test {test_loss:.4f}")
