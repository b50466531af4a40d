# fault: too-few-epochs
# about: Two epochs left from a trial run: the loss falls steadily when training stops.
import argparse
import torch
from torch import nn
from sklearn.datasets import load_digits

ap = argparse.ArgumentParser()
ap.add_argument('--epochs', type=int, default=2)  # fix: ap.add_argument('--epochs', type=int, default=25)
ap.add_argument('--lr', type=float, default=0.002)
args = ap.parse_args()
torch.manual_seed(SEED)
x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
x = x[torch.randperm(len(x))]
train, val = x[:1500], x[1500:]
net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.ReLU(), nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 64))
opt = torch.optim.Adam(net.parameters(), lr=args.lr)
for epoch in range(args.epochs):
    for k, xb in enumerate(train[torch.randperm(1500)].split(25)):
        loss = nn.functional.mse_loss(net(xb), xb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if k % 20 == 0:
            print('epoch', epoch, 'batch', k, 'loss', loss.item())
with torch.no_grad():
    print('metric val_mse', nn.functional.mse_loss(net(val), val).item(), 'lower')
