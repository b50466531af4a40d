"""Tell malignant from benign tumours: 569 real patients with 30 measurements each, from scikit-learn.

Something is wrong with it. `stethoscope run examples/breast_cancer.py` says what.
"""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

features, labels = load_breast_cancer(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    torch.tensor(features, dtype=torch.float32),
    torch.tensor(labels, dtype=torch.float32),
    test_size=0.25,
    random_state=0,
    stratify=labels,
)
loader = DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=True)

model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
loss_function = nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for epoch in range(60):
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_function(model(x).squeeze(1), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)

    train_loss = total / len(x_train)
    if (epoch + 1) % 10 == 0:
        model.eval()
        with torch.no_grad():
            logits = model(x_test).squeeze(1)
            test_loss = loss_function(logits, y_test)
            accuracy = ((logits > 0) == y_test.bool()).float().mean()
        print(f"epoch {epoch + 1:3d}  train {train_loss:.3f}  test {test_loss:.3f}  accuracy {accuracy:.1%}")
