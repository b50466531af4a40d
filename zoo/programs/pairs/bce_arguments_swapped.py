# fault: loss-arguments-swapped
# about: A hand-written binary cross-entropy takes (prediction, label) and gets (label, prediction).
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import minmax_scale

torch.manual_seed(SEED)
X, y = load_breast_cancer(return_X_y=True)
X = torch.tensor(minmax_scale(X) * 2 - 1).float()
y = torch.tensor(y).float().reshape(-1, 1)
p = torch.randperm(len(X))
train, test = p[:400], p[400:]

model = torch.nn.Sequential(
    torch.nn.Linear(30, 16), torch.nn.ReLU(),
    torch.nn.Linear(16, 1), torch.nn.Sigmoid(),
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def bce(pred, true, eps=1e-6):
    return -(true * torch.log(pred + eps) + (1 - true) * torch.log(1 - pred + eps)).mean()


def train_epoch():
    total = 0
    for rows in train[torch.randperm(len(train))].split(16):
        yhat = model(X[rows])
        loss = bce(y[rows], yhat)  # fix: loss = bce(yhat, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / len(train)


for epoch in range(1, 16):
    print(epoch, train_epoch())
with torch.no_grad():
    out = model(X[test]).clamp(1e-4, 1 - 1e-4)
    print('metric test_bce', bce(out, y[test]).item(), 'lower')
