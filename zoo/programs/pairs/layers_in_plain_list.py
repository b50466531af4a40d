# fault: unregistered-modules, parameters-not-in-optimizer
# about: Hidden layers live in a Python list, so model.parameters() knows the first and the last only.
import torch
from torch import nn
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset, DataLoader

torch.manual_seed(SEED)


class DeepNet(nn.Module):
    def __init__(self, n_hidden=4, width=12):
        super().__init__()
        self.first = nn.Linear(64, width)
        self.hidden = [nn.Linear(width, width) for _ in range(n_hidden)]  # fix: self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(n_hidden)])
        self.last = nn.Linear(width, 10)

    def forward(self, x):
        x = torch.relu(self.first(x))
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.last(x)


x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 16).float(), torch.tensor(y)
p = torch.randperm(len(x))
train = DataLoader(TensorDataset(x[p[:1400]], y[p[:1400]]), batch_size=28, shuffle=True)
net = DeepNet()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
for ep in range(12):
    net.train()
    for bx, by in train:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(bx), by)
        loss.backward()
        opt.step()
    print(ep, loss.item())
net.eval()
with torch.no_grad():
    print('metric val_ce', nn.functional.cross_entropy(net(x[p[1400:]]), y[p[1400:]]).item(), 'lower')
