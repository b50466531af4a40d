# fault: bce-without-sigmoid, numerical-instability
# about: A hand-written binary cross-entropy clamps the raw score into (0, 1) and takes logs of it.
import torch
from torch import nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
X, y = load_digits(return_X_y=True)
X = torch.tensor(X / 16, dtype=torch.float32)
even = torch.tensor(y % 2 == 0).float()
order = torch.randperm(len(X))


class BinaryCrossEntropy(nn.Module):
    eps = 1e-7

    def forward(self, p, t):
        p = p.clamp(self.eps, 1 - self.eps)
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()


class EvenOdd(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)  # fix: return torch.sigmoid(self.layers(x)).squeeze(-1)


model, criterion = EvenOdd(), BinaryCrossEntropy()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for epoch in range(10):
    for rows in order[:1400][torch.randperm(1400)].split(35):
        optimizer.zero_grad()
        loss = criterion(model(X[rows]), even[rows])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}\tloss {loss.item():.4f}")
with torch.no_grad():
    print("metric test_bce", criterion(model(X[order[1400:]]), even[order[1400:]]).item(), "lower")
