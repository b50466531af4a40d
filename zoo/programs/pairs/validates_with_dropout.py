# fault: validation-in-train-mode
# about: Validation never calls eval: dropout of one half makes the network look worse than it is.
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
x, y = load_digits(return_X_y=True)
x = torch.tensor(x, dtype=torch.float32) / 16
y = torch.tensor(y)
p = torch.randperm(len(x))
train_dl = DataLoader(TensorDataset(x[p[:1200]], y[p[:1200]]), batch_size=40, shuffle=True)
valid_dl = DataLoader(TensorDataset(x[p[1200:]], y[p[1200:]]), batch_size=60)

model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.6), nn.Linear(96, 96), nn.ReLU(), nn.Dropout(0.6), nn.Linear(96, 10))
opt = torch.optim.Adam(model.parameters(), lr=2e-3)


def validate(model, dl):
    # add: model.eval()
    with torch.no_grad():
        losses = [nn.functional.cross_entropy(model(xb), yb) * len(xb) for xb, yb in dl]
    return (sum(losses) / len(dl.dataset)).item()


for epoch in range(8):
    model.train()
    for xb, yb in train_dl:
        opt.zero_grad()
        nn.functional.cross_entropy(model(xb), yb).backward()
        opt.step()
    val = validate(model, valid_dl)
    print(f"epoch {epoch}: valid {val:.4f}")
print("metric reported_val_loss", val, "lower")
