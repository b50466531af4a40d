# fault: regularization-dominates-loss
# about: An L1 penalty of 0.05 times the sum of all weights is far larger than the class loss.
import torch
from torch import nn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

torch.manual_seed(SEED)
X, y = load_wine(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)
Xa, Xb, ya, yb = train_test_split(X, y, test_size=0.4, stratify=y, random_state=SEED)
Xa, Xb = torch.tensor(Xa, dtype=torch.float32), torch.tensor(Xb, dtype=torch.float32)
ya, yb = torch.tensor(ya), torch.tensor(yb)
LAMBDA = 0.05  # fix: LAMBDA = 0.0001

clf = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
optim = torch.optim.Adam(clf.parameters(), lr=3e-3)
ce = nn.CrossEntropyLoss()


def penalty(model):
    return sum(p.abs().sum() for p in model.parameters())


for it in range(300):
    rows = torch.randint(len(Xa), (24,))
    data_loss = ce(clf(Xa[rows]), ya[rows])
    loss = data_loss + LAMBDA * penalty(clf)
    optim.zero_grad()
    loss.backward()
    optim.step()
    if it % 60 == 0:
        print(f"iter {it}: total {loss.item():.3f} data {data_loss.item():.3f}")
with torch.no_grad():
    print("metric test_ce", ce(clf(Xb), yb).item(), "lower")
