# fault: batch-norm-tiny-batch
# about: Memory was short, so the batch became 2, and every batch normalization uses the statistics of two samples.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_wine

torch.manual_seed(SEED)
BATCH = 2  # fix: BATCH = 20
X, y = load_wine(return_X_y=True)
X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
y = torch.tensor(y)
p = torch.randperm(len(X))
loader = DataLoader(TensorDataset(X[p[:120]], y[p[:120]]), batch_size=BATCH, shuffle=True, drop_last=True)


def block(i, o):
    return nn.Sequential(nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU())


net = nn.Sequential(block(13, 24), block(24, 24), block(24, 24), nn.Linear(24, 3))
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(20):
    net.train()
    total = 0
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(net(xb), yb)
        loss.backward()
        optimizer.step()
        total += loss.item()
    if epoch % 5 == 4:
        print('epoch', epoch + 1, 'loss', total / len(loader))
net.eval()
with torch.no_grad():
    # and the training loss, as it would be in use
    print('train loss in eval mode', criterion(net(X[p[:120]]), y[p[:120]]).item())
    print('metric final_train_loss', total / len(loader), 'lower')
