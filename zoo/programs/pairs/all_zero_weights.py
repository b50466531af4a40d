# fault: symmetric-initialization
# about: An init function sets every weight and bias to 0, so hidden units never receive a gradient.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)


def init_weights(m):
    if isinstance(m, nn.Linear):
        nn.init.zeros_(m.weight)  # fix: nn.init.kaiming_normal_(m.weight)
        nn.init.zeros_(m.bias)


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.apply(init_weights)

    def forward(self, x):
        return self.net(x)


d = load_digits()
X, Y = torch.tensor(d.data / 16.).float(), torch.tensor(d.target)
perm = torch.randperm(len(X))
net, lr = MLP(), 0.1
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=lr)
for epoch in range(12):
    for batch in perm[:1500].view(-1, 30):
        l = loss_fn(net(X[batch]), Y[batch])
        optimizer.zero_grad()
        l.backward()
        optimizer.step()
    print('epoch %d, loss %.4f' % (epoch + 1, l))
with torch.no_grad():
    rows = perm[1500:]
    print('metric accuracy', (net(X[rows]).argmax(1) == Y[rows]).float().mean().item(), 'higher')
