"""torch.func over a module, a custom autograd function, a checked gradient, and tensors without a module."""

import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn
from torch.func import functional_call, grad, vmap

seed_everything(13)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


model = nn.Linear(3, 1)
free = torch.randn(3, requires_grad=True)
optimizer = torch.optim.SGD([*model.parameters(), free], lr=0.01)
losses, slopes = [], []


def loss_of(parameters, x, y):
    return (functional_call(model, parameters, (x,)) - y).square().mean()


for _ in range(20):
    x, y = torch.randn(6, 3), torch.randn(6, 1)
    per_sample = vmap(grad(loss_of), in_dims=(None, 0, 0))(dict(model.named_parameters()), x, y)
    slopes.append({name: value.detach() for name, value in per_sample.items()})
    loss = (model(Doubled.apply(x * free)) - y).square().mean()
    optimizer.zero_grad()
    loss.backward(retain_graph=True)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(torch.autograd.gradcheck(Doubled.apply, torch.randn(3, dtype=torch.float64, requires_grad=True)))
print_fingerprints(models=[model], optimizers=[optimizer], losses=losses, outputs=[slopes, free])
