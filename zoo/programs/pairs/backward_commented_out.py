# fault: missing-backward
# about: loss.backward was commented out while looking for another error and never came back.
import time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
X, y = load_digits(return_X_y=True)
ds = TensorDataset(torch.tensor(X, dtype=torch.float32) / 16, torch.tensor(y))
train, val = torch.utils.data.random_split(ds, [1500, 297])

net = nn.Sequential(nn.Linear(64, 100), nn.BatchNorm1d(100), nn.ReLU(), nn.Linear(100, 10))
loss_func = nn.CrossEntropyLoss()
optimiser = torch.optim.Adam(net.parameters())
start = time.time()
for epoch in range(5):
    net.train()
    for batch_x, batch_y in DataLoader(train, batch_size=50, shuffle=True):
        optimiser.zero_grad()
        prediction = net(batch_x)
        loss = loss_func(prediction, batch_y)
        # loss.backward()
        # add: loss.backward()
        optimiser.step()
    net.eval()
    with torch.no_grad():
        acc = sum((net(a).argmax(1) == b).sum().item() for a, b in DataLoader(val, batch_size=99)) / len(val)
    print(f'epoch {epoch + 1} | loss {loss.item():.3f} | val acc {acc:.3f} | {time.time() - start:.1f}s')
print('metric accuracy', acc, 'higher')
