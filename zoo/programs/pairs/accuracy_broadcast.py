# fault: metric-wrong
# about: Accuracy compares (N, 1) predictions with (N,) labels, so the sum counts pairs and passes 100 per cent.
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(SEED)
cancer = load_breast_cancer()
x = torch.tensor(cancer.data, dtype=torch.float32)
x = (x - x.mean(0)) / x.std(0)
ds = TensorDataset(x, torch.tensor(cancer.target, dtype=torch.float32))
train_set, val_set = random_split(ds, [0.7, 0.3])
net = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 1))
bce = nn.BCEWithLogitsLoss()
opt = torch.optim.Adam(net.parameters(), lr=2e-3)


def validate():
    net.eval()
    correct, total = 0, 0
    with torch.no_grad():
        for xb, yb in DataLoader(val_set, batch_size=32):
            out = net(xb)
            bce(out, yb.unsqueeze(1))
            predicted = (out > 0).float()
            correct += (predicted == yb).sum().item()  # fix: correct += (predicted.squeeze(1) == yb).sum().item()
            total += yb.size(0)
    return correct / total


for epoch in range(8):
    net.train()
    for xb, yb in DataLoader(train_set, batch_size=32, shuffle=True):
        opt.zero_grad()
        loss = bce(net(xb), yb.unsqueeze(1))
        loss.backward()
        opt.step()
    accuracy = validate()
    print(f"epoch {epoch} loss {loss:.3f} val accuracy {accuracy:.3f}")

with torch.no_grad():
    xv, yv = val_set[:]
    true = ((net(xv).squeeze(1) > 0).float() == yv).float().mean().item()
print("metric error_of_the_metric", abs(accuracy - true), "lower")
