"""Policy gradient with a running baseline on a grid: the loss itself says little, the return rises."""

import os

import torch
from torch import nn
from torch.distributions import Categorical

torch.manual_seed(int(os.environ.get("SEED", 0)))
MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])


def rollout(policy, n=32, steps=10):
    at = torch.randint(0, 5, (n, 2))
    goal = torch.tensor([2, 2])
    logs, gains = [], []
    for _ in range(steps):
        dist = Categorical(logits=policy((at - goal).float() / 2))
        act = dist.sample()
        before = (at - goal).abs().sum(1)
        at = (at + MOVES[act]).clamp(0, 4)
        gains.append((before - (at - goal).abs().sum(1)).float())
        logs.append(dist.log_prob(act))
    return torch.stack(logs), torch.stack(gains)


policy = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 4))
opt = torch.optim.Adam(policy.parameters(), lr=1e-2)
baseline = 0.0
for episode in range(120):
    logs, gains = rollout(policy)
    returns = gains.flip(0).cumsum(0).flip(0)
    loss = -(logs * (returns - baseline)).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    baseline = 0.9 * baseline + 0.1 * returns.mean().item()
    if episode % 20 == 0:
        print(episode, "return", gains.sum(0).mean().item(), "loss", loss.item())
