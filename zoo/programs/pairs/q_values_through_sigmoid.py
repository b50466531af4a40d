# fault: output-activation-limits-range
# about: A Q network's values end in a sigmoid while returns lie between -8 and 10.
import random
from collections import deque

import torch
import torch.nn as nn

random.seed(SEED)
torch.manual_seed(SEED)


class Corridor:
    length = 7

    def reset(self):
        self.at, self.t = random.randrange(5), 0
        return self.state()

    def state(self):
        return [float(i == self.at) for i in range(self.length)]

    def step(self, a):
        self.at = max(0, min(self.length - 1, self.at + (1 if a else -1)))
        self.t += 1
        if self.at == self.length - 1:
            return self.state(), 10.0, True
        return self.state(), -1.0 if self.at else -2.0, self.t >= 12


class QNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, s):
        q = self.body(s)
        q = torch.sigmoid(q)  # fix:
        return q


env, q = Corridor(), QNet()
optimizer = torch.optim.Adam(q.parameters(), lr=5e-3)
memory = deque(maxlen=2000)
gamma, eps = 0.95, 1.0
for episode in range(120):
    s, done, total = env.reset(), False, 0
    eps = max(0.05, eps * 0.97)
    while not done:
        a = random.randrange(2) if random.random() < eps else q(torch.tensor(s)).argmax().item()
        s2, r, done = env.step(a)
        memory.append((s, a, r, s2, done))
        s, total = s2, total + r
        if len(memory) >= 32:
            S, A, R, S2, D = zip(*random.sample(memory, 32))
            now = q(torch.tensor(S)).gather(1, torch.tensor(A)[:, None]).squeeze(1)
            with torch.no_grad():
                nxt = q(torch.tensor(S2)).max(1).values
                goal = torch.tensor(R) + gamma * nxt * (1 - torch.tensor(D, dtype=torch.float))
            loss = nn.functional.mse_loss(now, goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if episode % 20 == 0:
        print(f"episode {episode} return {total:.1f} eps {eps:.2f}")
with torch.no_grad():
    err = 0.0
    for at in range(6):
        steps = 6 - at
        true = sum(-1 * gamma**k for k in range(steps - 1)) + 10 * gamma ** (steps - 1)
        err += abs(q(torch.eye(7)[at])[1].item() - true) / 6
print("metric value_error", err, "lower")
