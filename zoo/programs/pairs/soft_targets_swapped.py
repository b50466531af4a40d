# fault: loss-arguments-swapped
# about: One-hot targets and scores change places in a cross-entropy call with class probabilities.
import torch
from torch import nn
from torch.nn.functional import one_hot
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def load(seed):
    d = load_digits()
    x = torch.as_tensor(d.data, dtype=torch.float32) / 16
    y = one_hot(torch.as_tensor(d.target), 10).float()
    perm = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return (x[perm[:1400]], y[perm[:1400]]), (x[perm[1400:]], y[perm[1400:]])


class Experiment:
    def __init__(self, seed=SEED):
        torch.manual_seed(seed)
        self.train, self.test = load(seed)
        self.model = nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.criterion = nn.CrossEntropyLoss()

    def step(self, x, y):
        y_hat = self.model(x)
        loss = self.criterion(y, y_hat)  # fix: loss = self.criterion(y_hat, y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def evaluate(self):
        with torch.no_grad():
            return (self.model(self.test[0]).argmax(1) == self.test[1].argmax(1)).float().mean().item()

    def fit(self, epochs):
        loader = DataLoader(TensorDataset(*self.train), batch_size=32, shuffle=True)
        for epoch in range(epochs):
            losses = [self.step(x, y) for x, y in loader]
            print(f"[{epoch}] loss={sum(losses) / len(losses):.3f} acc={self.evaluate():.3f}")


exp = Experiment()
exp.fit(8)
print("metric accuracy", exp.evaluate(), "higher")
