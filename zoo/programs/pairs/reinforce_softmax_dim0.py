# fault: wrong-softmax-dim
# about: REINFORCE on a line world: the policy's softmax runs over the parallel episodes and not over the actions.
import torch
import torch.nn as nn
from torch.distributions import Categorical


class LineWorld:
    """Walk left or right; the goal is at +4, side given in the observation."""

    def __init__(self, n):
        self.n = n

    def reset(self):
        self.pos = torch.zeros(self.n)
        self.goal = torch.randint(0, 2, (self.n,)).float() * 8 - 4
        return self.obs()

    def obs(self):
        return torch.stack([self.pos / 4, self.goal / 4], 1)

    def step(self, action):
        before = (self.pos - self.goal).abs()
        self.pos = (self.pos + action.float() * 2 - 1).clamp(-5, 5)
        after = (self.pos - self.goal).abs()
        return self.obs(), before - after


class PolicyNetwork(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 2))

    def forward(self, state):
        return torch.softmax(self.net(state), dim=0)  # fix: return torch.softmax(self.net(state), dim=1)


def play(env, policy, steps=8):
    obs = env.reset()
    logps, rewards = [], []
    for _ in range(steps):
        dist = Categorical(policy(obs))
        a = dist.sample()
        obs, r = env.step(a)
        logps.append(dist.log_prob(a))
        rewards.append(r)
    rewards = torch.stack(rewards)
    returns = rewards.flip(0).cumsum(0).flip(0)
    return torch.stack(logps), returns, rewards.sum(0)


torch.manual_seed(SEED)
env, policy = LineWorld(16), PolicyNetwork()
opt = torch.optim.Adam(policy.parameters(), lr=3e-3)
for episode in range(150):
    logps, returns, score = play(env, policy)
    adv = (returns - returns.mean()) / (returns.std() + 1e-6)
    loss = -(logps * adv).sum(0).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if episode % 25 == 0:
        print(f"episode {episode} mean return {score.mean():.2f}")
with torch.no_grad():
    one = LineWorld(1)
    final = sum(play(one, policy)[2].mean().item() for _ in range(100)) / 100
print("metric mean_return", final, "higher")
