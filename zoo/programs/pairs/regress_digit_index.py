# fault: loss-unfit-for-task
# about: Ten digit classes are regressed as one number with MSE and rounded afterwards.
import torch
from sklearn.datasets import load_digits
from torch.nn import Linear, MSELoss, CrossEntropyLoss, ReLU, Sequential

torch.manual_seed(SEED)
X, y = load_digits(return_X_y=True)
X = torch.tensor(X / 16).float()
y = torch.tensor(y)
idx = torch.randperm(len(X))
X, y = X[idx], y[idx]
Xtrain, ytrain, Xval, yval = X[:1400], y[:1400], X[1400:], y[1400:]

model = Sequential(
    Linear(64, 64), ReLU(),
    Linear(64, 1),  # fix: Linear(64, 10),
)
loss_fn = MSELoss()  # fix: loss_fn = CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def prepare(target):
    return target.float().unsqueeze(1)  # fix: return target


def decode(out):
    return out.squeeze(1).round().clamp(0, 9).long()  # fix: return out.argmax(1)


for epoch in range(20):
    perm = torch.randperm(len(Xtrain))
    for b in perm.split(64):
        optimizer.zero_grad()
        loss = loss_fn(model(Xtrain[b]), prepare(ytrain[b]))
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        acc = (decode(model(Xval)) == yval).float().mean().item()
    print(f"{epoch=} {loss.item()=:.4f} {acc=:.3f}")
print(f"metric accuracy {acc} higher")
