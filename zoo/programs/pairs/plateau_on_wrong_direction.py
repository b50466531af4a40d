# fault: learning-rate-decayed-away
# about: ReduceLROnPlateau watches accuracy in mode 'min': each better epoch counts as a bad one.
import argparse
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.optim.lr_scheduler import ReduceLROnPlateau

parser = argparse.ArgumentParser()
parser.add_argument('--seed', default=SEED, type=int)
parser.add_argument('--patience', default=1, type=int)
opt = parser.parse_args()
torch.manual_seed(opt.seed)

x, y = load_digits(return_X_y=True)
x, y = torch.Tensor(x / 16.), torch.LongTensor(y)
perm = torch.randperm(len(x))
tr, va = perm[:1400], perm[1400:]
model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
scheduler = ReduceLROnPlateau(optimizer, mode='min', patience=opt.patience, factor=0.1)  # fix: scheduler = ReduceLROnPlateau(optimizer, mode='max', patience=opt.patience, factor=0.1)
criterion = nn.CrossEntropyLoss()
for epoch in range(30):
    model.train()
    for rows in tr[torch.randperm(len(tr))].chunk(40):
        optimizer.zero_grad()
        loss = criterion(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        out = model(x[va])
        val_loss, acc = criterion(out, y[va]), (out.argmax(1) == y[va]).float().mean()
    scheduler.step(acc)
    if epoch % 5 == 4:
        print('epoch', epoch, 'lr', optimizer.param_groups[0]['lr'], 'acc', acc.item())
print('metric val_loss', val_loss.item(), 'lower')
