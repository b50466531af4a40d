# fault: padding-in-loss
# about: Sequences of very different lengths are padded with zeros, and the squared error averages over the padding too.
import torch
from torch import nn

torch.manual_seed(SEED)


def make(n):
    lengths = torch.randint(4, 13, (n,))
    lengths[::8] = 60
    x = torch.zeros(n, 60)
    for row, length in enumerate(lengths):
        x[row, :length] = torch.randn(length) + 1.0
    mask = torch.arange(60)[None] < lengths[:, None]
    # running mean of what was seen so far
    y = x.cumsum(1) / torch.arange(1, 61) * mask + 2.0 * mask
    return x, y, mask.float()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(1, 20, batch_first=True)
        self.fc = nn.Linear(20, 1)

    def forward(self, x):
        out, _ = self.rnn(x.unsqueeze(-1))
        return self.fc(out).squeeze(-1)


x, y, mask = make(400)
xv, yv, mv = make(200)
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
for epoch in range(9):
    for idx in torch.randperm(400).split(25):
        pred = net(x[idx])
        err = (pred - y[idx]) ** 2
        loss = err.mean()  # fix: loss = (err * mask[idx]).sum() / mask[idx].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f'epoch {epoch}: {loss.item():.4f}')
with torch.no_grad():
    short = mv * (mv.sum(1, keepdim=True) < 60)
    val = (((net(xv) - yv) ** 2) * short).sum() / short.sum()
print(f'metric masked_mse {val.item():.5f} lower')
