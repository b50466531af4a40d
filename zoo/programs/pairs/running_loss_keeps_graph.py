# fault: graph-kept-alive
# about: The running loss is added up as a tensor, so the graph of every step of the epoch stays in memory.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16).float(), torch.tensor(y)
alive = 0
peak = 0


class Counted:
    """How many floats autograd keeps for backward passes yet to come."""

    def __init__(self, n):
        global alive, peak
        self.n = n
        alive += n
        peak = max(peak, alive)

    def __del__(self):
        global alive
        alive -= self.n


def pack(t):
    return t, Counted(t.numel())


net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept[0]):
    for epoch in range(4):
        total_loss = 0
        for idx in torch.randperm(1500).split(50):
            opt.zero_grad()
            loss = nn.functional.cross_entropy(net(X[idx]), y[idx])
            penalty = 1e-4 * sum((w ** 2).sum() for w in net.parameters())
            loss.backward()
            opt.step()
            total_loss += loss + penalty  # fix: total_loss += loss.item() + penalty.item()
        print('epoch', epoch, 'loss', float(total_loss) / 30)
print('metric floats_kept_at_most', peak, 'lower')
