# fault: momentum-too-high, learning-rate-too-high
# about: momentum=0.999 keeps a thousand steps in memory; the run overshoots for its whole length.
import torch
from torch import nn
from sklearn.datasets import load_diabetes

torch.manual_seed(SEED)
X, y = load_diabetes(return_X_y=True)
X = torch.tensor(X * 21, dtype=torch.float32)
y = torch.tensor((y - 152.1) / 77.0, dtype=torch.float32)[:, None]
p = torch.randperm(442)
net = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.999)  # fix: optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.8)
for epoch in range(40):
    for rows in p[:340][torch.randperm(340)].split(34):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(X[rows]), y[rows])
        loss.backward()
        optimizer.step()
    if epoch % 8 == 0:
        print(epoch, loss.item())
with torch.no_grad():
    print('metric val_mse', nn.functional.mse_loss(net(X[p[340:]]), y[p[340:]]).item(), 'lower')
