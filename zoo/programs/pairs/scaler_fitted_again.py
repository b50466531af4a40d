# fault: inconsistent-preprocessing
# about: Test batches are standardised with their own mean and spread, batch by batch and sorted by class.
import torch
from torch import nn
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

torch.manual_seed(SEED)
X, y = load_wine(return_X_y=True)
perm = torch.randperm(len(X)).numpy()
train_idx, test_idx = perm[:110], perm[110:]
scaler = StandardScaler().fit(X[train_idx])


def prepare(rows, fit):
    if fit:
        return torch.tensor(StandardScaler().fit_transform(X[rows])).float()  # fix: return torch.tensor(scaler.transform(X[rows])).float()
    return torch.tensor(scaler.transform(X[rows])).float()


net = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
lossf = nn.CrossEntropyLoss()
xt, yt = prepare(train_idx, False), torch.tensor(y[train_idx])
for epoch in range(25):
    net.train()
    for i in torch.randperm(len(xt)).split(11):
        opt.zero_grad()
        loss = lossf(net(xt[i]), yt[i])
        loss.backward()
        opt.step()
    net.eval()
    total, seen = 0.0, 0
    with torch.no_grad():
        for cultivar in range(3):
            rows = test_idx[y[test_idx] == cultivar]
            out = net(prepare(rows, True))
            total += lossf(out, torch.tensor(y[rows])).item() * len(rows)
            seen += len(rows)
    if epoch % 5 == 4:
        print(epoch, loss.item(), total / seen)
print('metric test_loss', total / seen, 'lower')
