# fault: unshuffled-data
# about: Six device types, 1,500 rows each in one file after the other; small batches, two epochs.
import torch
from sklearn.datasets import make_classification
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
X, Y = make_classification(9000, 12, n_informative=8, n_redundant=0, n_classes=6, n_clusters_per_class=1, random_state=SEED + 1)
X, Y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y)
xv, yv, xt, yt = X[7500:], Y[7500:], X[:7500], Y[:7500]
xt, yt = xt[yt.argsort(stable=True)], yt.sort(stable=True).values
dl = DataLoader(TensorDataset(xt, yt), batch_size=16)  # fix: dl = DataLoader(TensorDataset(xt, yt), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 6))
opt = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(2):
    model.train()
    for x, y in dl:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        acc = (model(xv).argmax(1) == yv).float().mean().item()
    print(f"epoch {epoch}: {acc:.3f}")
print("metric accuracy", acc, "higher")
