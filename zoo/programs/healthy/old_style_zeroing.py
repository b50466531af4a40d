"""A loop as it was written in 2017: gradients zeroed through .data, with a module and hand-made updates."""

import os

import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer

torch.manual_seed(int(os.environ.get("SEED", 0)))
data = load_breast_cancer()
x = torch.tensor((data.data - data.data.mean(0)) / data.data.std(0)).float()
y = torch.tensor(data.target).float()
perm = torch.randperm(len(x))
x, y = x[perm], y[perm]


class LogisticRegression(nn.Module):
    def __init__(self):
        super(LogisticRegression, self).__init__()  # noqa: UP008
        self.linear = nn.Linear(30, 1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x))


model = LogisticRegression()
criterion = nn.BCELoss()
learning_rate = 0.1

for epoch in range(40):
    total_loss = 0.0
    for idx in torch.randperm(450).split(30):
        for p in model.parameters():
            if p.grad is not None:
                p.grad.data.zero_()
        loss = criterion(model(x[idx]).view(-1), y[idx])
        loss.backward()
        for p in model.parameters():
            p.data.add_(p.grad.data, alpha=-learning_rate)
        total_loss += loss.data.item()
    if (epoch + 1) % 10 == 0:
        model.eval()
        with torch.no_grad():
            acc = ((model(x[450:]).view(-1) > 0.5).float() == y[450:]).float().mean()
        model.train()
        print("Epoch: %d, Loss: %.4f, Acc: %.4f" % (epoch + 1, total_loss / 15, acc))  # noqa: UP031
