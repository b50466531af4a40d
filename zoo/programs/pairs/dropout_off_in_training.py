# fault: training-in-eval-mode
# about: A heavily regularised network on few samples is trained in eval mode, because evaluate() forgets to switch back.
import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import nn

torch.manual_seed(SEED)
rng = np.random.default_rng(SEED)
X, y = load_diabetes(return_X_y=True)
X = (X / X.std(0)).astype(np.float32)
y = ((y - y.mean()) / y.std()).astype(np.float32)
i = rng.permutation(len(X))
X, y = torch.from_numpy(X[i]), torch.from_numpy(y[i]).unsqueeze(1)


class Fitter:
    def __init__(self, net):
        self.net = net
        self.opt = torch.optim.Adam(net.parameters(), lr=3e-3)

    def evaluate(self):
        self.net.eval()
        with torch.no_grad():
            return nn.functional.mse_loss(self.net(X[120:]), y[120:]).item()

    def epoch(self):
        # add: self.net.train()
        for b in torch.randperm(120).split(20):
            loss = nn.functional.mse_loss(self.net(X[b]), y[b])
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        return loss.item()


net = nn.Sequential(nn.Linear(10, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 1))
f = Fitter(net)
print('start', f.evaluate())
for e in range(40):
    l = f.epoch()
    v = f.evaluate()
    if e % 8 == 7:
        print(e, round(l, 3), round(v, 3))
print('metric val_mse', v, 'lower')
