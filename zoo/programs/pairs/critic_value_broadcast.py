# fault: target-shape-broadcast
# about: An actor-critic's value loss compares (T, 1) values with (T,) returns.
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(SEED)
gen = torch.Generator().manual_seed(SEED)


class ContextBandit:
    """State decides which of three arms pays, and how much the state itself is worth."""

    def sample(self, n):
        self.s = torch.randn(n, 4, generator=gen)
        return self.s

    def reward(self, a):
        best = self.s[:, :3].argmax(1)
        return (a == best).float() + 3.0 * self.s[:, 3]


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.common = nn.Linear(4, 64)
        self.actor = nn.Linear(64, 3)
        self.critic = nn.Linear(64, 1)

    def forward(self, s):
        h = torch.tanh(self.common(s))
        return self.actor(h), self.critic(h)


env, ac = ContextBandit(), ActorCritic()
optimizer = torch.optim.Adam(ac.parameters(), lr=3e-3)
for update in range(300):
    s = env.sample(32)
    logits, value = ac(s)
    dist = torch.distributions.Categorical(logits=logits)
    a = dist.sample()
    ret = env.reward(a)
    advantage = ret - value.detach().squeeze(1)
    actor_loss = -(dist.log_prob(a) * advantage).mean()
    critic_loss = F.mse_loss(value, ret)  # fix: critic_loss = F.mse_loss(value.squeeze(1), ret)
    loss = actor_loss + 0.5 * critic_loss - 0.01 * dist.entropy().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if update % 50 == 0:
        print(f"update {update} reward {ret.mean():.2f} critic {critic_loss.item():.3f}")
with torch.no_grad():
    s = env.sample(1000)
    logits, value = ac(s)
    r = env.reward(logits.argmax(1))
    print("metric value_mse", (value.squeeze(1) - r).pow(2).mean().item(), "lower")
