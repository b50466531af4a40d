# fault: loss-detached, missing-backward
# about: Part of the loss is put into torch.tensor again, with requires_grad=True so that backward stops complaining.
import torch
from torch import nn
from sklearn.datasets import load_iris

torch.manual_seed(SEED)
X, y = load_iris(return_X_y=True)
X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
y = torch.tensor(y)
p = torch.randperm(150)
tr, te = p[:100], p[100:]

net = nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 3))
opt = torch.optim.Adam(net.parameters(), lr=1e-2)


def my_loss(scores, target):
    logp = scores - scores.logsumexp(1, keepdim=True)
    losses = [-logp[i, t].item() for i, t in enumerate(target)]  # fix: losses = [-logp[i, t] for i, t in enumerate(target)]
    return torch.tensor(losses, requires_grad=True).mean()  # fix: return torch.stack(losses).mean()


for epoch in range(20):
    for rows in tr[torch.randperm(100)].split(20):
        loss = my_loss(net(X[rows]), y[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
    if epoch % 5 == 0:
        print('epoch', epoch, 'loss', loss.item())
with torch.no_grad():
    print('metric test_ce', nn.functional.cross_entropy(net(X[te]), y[te]).item(), 'lower')
