"""Two tasks whose weights are learnt as log-variances: the total loss may become negative, and should."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, digit = load_digits(return_X_y=True)
ink = torch.tensor(X.sum(1), dtype=torch.float32)
ink = (ink - ink.mean()) / ink.std()
X, digit = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(digit)


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.cls, self.reg = nn.Linear(64, 10), nn.Linear(64, 1)
        self.log_vars = nn.Parameter(torch.zeros(2))

    def forward(self, x, digit, ink):
        h = self.trunk(x)
        losses = torch.stack([
            nn.functional.cross_entropy(self.cls(h), digit),
            nn.functional.mse_loss(self.reg(h).squeeze(1), ink),
        ])  # fmt: skip
        return (torch.exp(-self.log_vars) * losses + 0.5 * self.log_vars).sum(), losses


model = Both()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(12):
    for rows in torch.randperm(len(X)).split(50):
        total, parts = model(X[rows], digit[rows], ink[rows])
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    print(epoch, f"total {total.item():.3f} parts {parts.tolist()}")
