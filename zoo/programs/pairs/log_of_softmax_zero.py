# fault: numerical-instability
# about: A hand-written cross-entropy takes the log of a softmax on large scores; a probability of exactly 0 gives NaN.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
x, y = load_digits(return_X_y=True)
x = torch.tensor(x, dtype=torch.float32) / 16
y = torch.tensor(y)
perm = torch.randperm(len(x))
x, y = x[perm], y[perm]

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
temperature = 0.005


def cross_entropy(scores, target):
    onehot = nn.functional.one_hot(target, 10).float()
    logp = torch.log(torch.softmax(scores, dim=1))  # fix: logp = torch.log_softmax(scores, dim=1)
    return -(onehot * logp).sum(1).mean()


for epoch in range(6):
    for i in range(0, 1400, 40):
        out = model(x[i:i + 40]) / temperature
        loss = cross_entropy(out, y[i:i + 40])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print('epoch', epoch, 'loss', loss.item())
with torch.no_grad():
    print('metric accuracy', (model(x[1400:]).argmax(1) == y[1400:]).float().mean().item(), 'higher')
