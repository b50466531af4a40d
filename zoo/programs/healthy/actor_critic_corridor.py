"""Actor-critic on a corridor: walk to the right end, each step costs a little. One update an episode."""

import os

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical

torch.manual_seed(int(os.environ.get("SEED", 0)))
LENGTH, LIMIT = 8, 40


class Corridor:
    def reset(self):
        self.position, self.time = 0, 0
        return self.observe()

    def observe(self):
        return F.one_hot(torch.tensor(self.position), LENGTH).float()

    def step(self, action):
        self.position = max(0, self.position + (1 if action == 1 else -1))
        self.time += 1
        arrived = self.position == LENGTH - 1
        return self.observe(), (1.0 if arrived else -0.05), arrived or self.time == LIMIT


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine = nn.Linear(LENGTH, 32)
        self.action_head = nn.Linear(32, 2)
        self.value_head = nn.Linear(32, 1)

    def forward(self, state):
        x = torch.tanh(self.affine(state))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)


model = Policy()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
env = Corridor()
running = -2.0

for episode in range(200):
    state, done, log_probs, values, rewards = env.reset(), False, [], [], []
    while not done:
        probs, value = model(state)
        m = Categorical(probs)
        action = m.sample()
        state, reward, done = env.step(action.item())
        log_probs.append(m.log_prob(action))
        values.append(value.squeeze())
        rewards.append(reward)

    returns, R = [], 0.0
    for r in reversed(rewards):
        R = r + 0.98 * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    values = torch.stack(values)
    advantage = returns - values.detach()
    policy_loss = -(torch.stack(log_probs) * advantage).mean()
    value_loss = F.smooth_l1_loss(values, returns)
    optimizer.zero_grad()
    (policy_loss + value_loss).backward()
    optimizer.step()

    running = 0.95 * running + 0.05 * sum(rewards)
    if episode % 40 == 39:
        print(f"Episode {episode}\tLast reward: {sum(rewards):.2f}\tAverage reward: {running:.2f}")
