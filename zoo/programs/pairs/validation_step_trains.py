# fault: validation-trains-model
# about: One function serves training and validation; its flag is ignored, so the validation set is trained on and looks splendid.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_diabetes

torch.manual_seed(SEED)
X, y = load_diabetes(return_X_y=True)
X = torch.tensor(X / X.std(0), dtype=torch.float32)
y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32).unsqueeze(1)
p = torch.randperm(442)
make = lambda idx, **k: DataLoader(TensorDataset(X[idx], y[idx]), batch_size=10, **k)
train_loader, val_loader = make(p[:160], shuffle=True), make(p[160:220])
fresh_x, fresh_y = X[p[220:]], y[p[220:]]

model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def run_epoch(loader, is_train):
    model.train(is_train)
    total = 0.0
    for xb, yb in loader:
        loss = nn.functional.mse_loss(model(xb), yb)
        if True:  # fix: if is_train:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        total += loss.item() * len(xb)
    return total / len(loader.dataset)


for epoch in range(8):
    train_loss = run_epoch(train_loader, True)
    val_loss = run_epoch(val_loader, False)
    if epoch % 2 == 1:
        print(f"{epoch}: train {train_loss:.3f} val {val_loss:.3f}")
with torch.no_grad():
    true = nn.functional.mse_loss(model(fresh_x), fresh_y).item()
print("metric optimism_of_validation", (true - val_loss) / true, "lower")
