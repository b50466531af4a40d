# fault: train-test-overlap
# about: Rare rows are oversampled before the split, so copies of most test rows are in the training set.
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
X, y = load_diabetes(return_X_y=True)
X = torch.tensor(X / X.std(0), dtype=torch.float32)
y = torch.tensor(y > 140).long()
fresh = torch.randperm(len(X))[:140]
mask = torch.ones(len(X), dtype=torch.bool)
mask[fresh] = False
Xw, yw = X[mask], y[mask]
if True:  # fix: if False:
    Xw, yw = torch.cat([Xw, Xw, Xw]), torch.cat([yw, yw, yw])
X_train, X_val, y_train, y_val = train_test_split(Xw, yw, test_size=0.25, random_state=SEED)
train_loader = DataLoader(TensorDataset(X_train, y_train), batch_size=25, shuffle=True)
val_loader = DataLoader(TensorDataset(X_val, y_val), batch_size=50)

net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 2))
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
steps = 0
while steps < 240:
    net.train()
    for xb, yb in train_loader:
        loss = nn.functional.cross_entropy(net(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        steps += 1
    net.eval()
    with torch.no_grad():
        out = [(nn.functional.cross_entropy(net(a), b), (net(a).argmax(1) == b).float().sum()) for a, b in val_loader]
    val_acc = sum(o[1] for o in out).item() / len(y_val)
    print('step', steps, 'loss', loss.item(), 'validation', sum(o[0] for o in out).item() / len(out))
print('steps', steps, 'loss', loss.item(), 'validation accuracy', val_acc)
with torch.no_grad():
    true = (net(X[fresh]).argmax(1) == y[fresh]).float().mean().item()
print('metric optimism_of_validation', val_acc - true, 'lower')
