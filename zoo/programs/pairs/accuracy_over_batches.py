# fault: metric-wrong
# about: Right answers are counted over the epoch without ever being reset, then divided by the size of one pass.
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
np.random.seed(SEED)


class Trainer:
    def __init__(self, model, train, valid):
        self.model, self.train_dl, self.valid_dl = model, train, valid
        self.opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        self.lossf = nn.CrossEntropyLoss()
        self.correct = 0
        self.history = []

    def train_one(self):
        self.model.train()
        for x, y in self.train_dl:
            self.opt.zero_grad()
            loss = self.lossf(self.model(x), y)
            loss.backward()
            self.opt.step()
        return loss.item()

    @torch.no_grad()
    def valid_one(self):
        self.model.eval()
        # add: self.correct = 0
        for x, y in self.valid_dl:
            out = self.model(x)
            self.lossf(out, y)
            self.correct += (out.argmax(1) == y).sum().item()
        return self.correct / len(self.valid_dl.dataset)

    def fit(self, n):
        for e in range(n):
            l, a = self.train_one(), self.valid_one()
            self.history.append(a)
            print(f"epoch {e}: loss {l:.3f}, validation accuracy {100 * a:.1f}%")


X, y = load_digits(return_X_y=True)
X = torch.tensor(X / 16, dtype=torch.float32)
y = torch.tensor(y)
p = np.random.permutation(len(X))
train = DataLoader(TensorDataset(X[p[:1300]], y[p[:1300]]), batch_size=65, shuffle=True)
valid = DataLoader(TensorDataset(X[p[1300:]], y[p[1300:]]), batch_size=100)
t = Trainer(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), train, valid)
t.fit(6)
with torch.no_grad():
    real = (t.model(X[p[1300:]]).argmax(1) == y[p[1300:]]).float().mean().item()
print("metric error_of_the_metric", abs(t.history[-1] - real), "lower")
