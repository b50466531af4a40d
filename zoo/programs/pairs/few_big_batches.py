# fault: batch-too-large
# about: Two batches of 900 an epoch, cut by hand, for twelve epochs.
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(SEED)
data = load_digits()
x = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
y = torch.tensor(data.target)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 8, 3, padding=1)
        self.c2 = nn.Conv2d(8, 16, 3, padding=1, stride=2)
        self.out = nn.Linear(256, 10)
    def forward(self, x):
        x = torch.relu(self.c1(x)); x = torch.relu(self.c2(x))
        return self.out(x.flatten(1))

net = Net()
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
batch = 900  # fix: batch = 50
for epoch in range(12):
    order = torch.randperm(len(x))
    for i in range(0, len(x), batch):
        idx = order[i:i + batch]
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x[idx]), y[idx])
        loss.backward()
        opt.step()
print("metric loss", nn.functional.cross_entropy(net(x), y).item(), "lower")
