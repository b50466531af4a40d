# fault: numerical-instability
# about: An entropy bonus is written as p times log p; as soon as the policy is sure, 0 times minus infinity is NaN.
import torch
from torch import nn

torch.manual_seed(SEED)


class Bandit:
    """The sign of x decides which of two levers pays 5."""

    def see(self, n):
        self.x = torch.randn(n, 3) * 10
        return self.x

    def pull(self, a):
        return 5.0 * (a == (self.x[:, 0] > 0).long()).float()


policy = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 2))
optimizer = torch.optim.Adam(policy.parameters(), lr=2e-2)
env, baseline = Bandit(), 0.0
for step in range(200):
    probs = torch.softmax(policy(env.see(64)), dim=-1)
    with torch.no_grad():
        action = torch.multinomial(torch.nan_to_num(probs, nan=0.5), 1).squeeze(1)
    reward = env.pull(action)
    baseline = 0.9 * baseline + 0.1 * reward.mean()
    chosen = probs.gather(1, action[:, None]).squeeze(1)
    entropy = -(probs * torch.log(probs)).sum(-1).mean()  # fix: entropy = -(probs * torch.log(probs.clamp_min(1e-8))).sum(-1).mean()
    loss = -(torch.log(chosen + 1e-8) * (reward - baseline)).mean() - 0.01 * entropy
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 40 == 0:
        print(step, "reward", reward.mean().item())
with torch.no_grad():
    x = env.see(1000)
    print("metric reward", env.pull(policy(x).argmax(1)).mean().item(), "higher")
