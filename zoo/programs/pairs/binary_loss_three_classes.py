# fault: loss-unfit-for-task
# about: Three wine cultivars, numbered 0 to 2, go as they are into BCEWithLogitsLoss with one output.
import torch
from torch import nn, optim
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale

torch.manual_seed(SEED)
x, y = load_wine(return_X_y=True)
x = torch.tensor(scale(x), dtype=torch.float32)
y = torch.tensor(y)
g = torch.Generator().manual_seed(SEED)
mix = torch.randperm(len(x), generator=g)
tr, va = mix[:120], mix[120:]


class Wine:
    """Everything in one place: net, loss, loop."""

    def __init__(self):
        self.net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 1))  # fix: self.net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
        self.crit = nn.BCEWithLogitsLoss()  # fix: self.crit = nn.CrossEntropyLoss()
        self.opt = optim.SGD(self.net.parameters(), lr=0.05, momentum=0.8)

    def loss(self, x, y):
        return self.crit(self.net(x), y[:, None].float())  # fix: return self.crit(self.net(x), y)

    def predict(self, x):
        return (torch.sigmoid(self.net(x)) * 2).round().squeeze(1).long()  # fix: return self.net(x).argmax(1)

    def run(self, epochs):
        for e in range(epochs):
            for rows in tr[torch.randperm(len(tr))].split(12):
                l = self.loss(x[rows], y[rows])
                self.opt.zero_grad()
                l.backward()
                self.opt.step()
            if not e % 5:
                print("epoch", e, "loss", round(l.item(), 3))


w = Wine()
w.run(25)
with torch.no_grad():
    print("metric accuracy", (w.predict(x[va]) == y[va]).float().mean().item(), "higher")
