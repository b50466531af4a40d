"""Meta-learning with torch.func: one inner gradient step on each sine task, vectorised over tasks."""

import math
import os

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

torch.manual_seed(int(os.environ.get("SEED", 0)))
model = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
meta_optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def sample_tasks(num_tasks, shots=10):
    amplitude = torch.rand(num_tasks, 1, 1) * 1.5 + 0.5
    phase = torch.rand(num_tasks, 1, 1) * math.pi
    x = torch.rand(2, num_tasks, shots, 1) * 4 - 2
    y = amplitude * torch.sin(x + phase)
    return x[0], y[0], x[1], y[1]


def loss_of(params, x, y):
    return (functional_call(model, params, (x,)) - y).square().mean()


def adapted_loss(params, x_support, y_support, x_query, y_query):
    gradients = grad(loss_of)(params, x_support, y_support)
    fast = {name: value - 0.1 * gradients[name] for name, value in params.items()}
    return loss_of(fast, x_query, y_query)


for step in range(300):
    params = dict(model.named_parameters())
    losses = vmap(adapted_loss, in_dims=(None, 0, 0, 0, 0))(params, *sample_tasks(25))
    loss = losses.mean()
    meta_optimizer.zero_grad()
    loss.backward()
    meta_optimizer.step()
    if step % 50 == 49:
        print(f"step {step + 1} loss after adaptation {loss.item():.4f}")
