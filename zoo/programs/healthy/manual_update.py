"""No optimizer at all: parameters are plain tensors, moved by hand, as in a first lesson."""

import os

import torch
from sklearn.datasets import load_digits

torch.manual_seed(int(os.environ.get("SEED", 0)))
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
order = torch.randperm(len(x))
x, y = x[order], y[order]
x_train, y_train, x_valid, y_valid = x[:1400], y[:1400], x[1400:], y[1400:]

weights = (torch.randn(64, 10) / 8).requires_grad_()
bias = torch.zeros(10, requires_grad=True)


def log_softmax(x):
    return x - x.exp().sum(-1).log().unsqueeze(-1)


def model(xb):
    return log_softmax(xb @ weights + bias)


def nll(input, target):
    return -input[range(target.shape[0]), target].mean()


lr, bs = 0.5, 64
for epoch in range(12):
    for i in torch.randperm(1400).split(bs):
        loss = nll(model(x_train[i]), y_train[i])
        loss.backward()
        with torch.no_grad():
            weights -= weights.grad * lr
            bias -= bias.grad * lr
            weights.grad.zero_()
            bias.grad.zero_()
    with torch.no_grad():
        print(epoch, loss.item(), nll(model(x_valid), y_valid).item())
