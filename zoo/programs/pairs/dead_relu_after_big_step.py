# fault: learning-rate-too-high, dying-relu
# about: Adam with a rate of 0.5: the first steps push nearly all rectified units below zero for good.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
perm = torch.randperm(len(x))
x, y = x[perm], y[perm]
net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(net.parameters(), lr=0.5)  # fix: optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(8):
    running = 0.0
    for i in range(0, 1400, 28):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x[i:i + 28]), y[i:i + 28])
        loss.backward()
        optimizer.step()
        running += loss.item()
    print('[epoch %d] loss: %.3f' % (epoch + 1, running / 50))
with torch.no_grad():
    print('metric accuracy', (net(x[1400:]).argmax(1) == y[1400:]).float().mean().item(), 'higher')
