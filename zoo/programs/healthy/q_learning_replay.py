"""Deep Q-learning on a small grid: replay memory, a target network copied now and then, Huber loss."""

import collections
import os
import random

import torch
from torch import nn

seed = int(os.environ.get("SEED", 0))
random.seed(seed)
torch.manual_seed(seed)
SIZE, MOVES = 4, [(0, 1), (1, 0), (0, -1), (-1, 0)]


def encode(cell):
    state = torch.zeros(SIZE * SIZE)
    state[cell[0] * SIZE + cell[1]] = 1
    return state


def act(cell, action):
    step = [min(SIZE - 1, max(0, c + d)) for c, d in zip(cell, MOVES[action], strict=True)]
    arrived = step == [SIZE - 1, SIZE - 1]
    return step, (1.0 if arrived else -0.02), arrived


q = nn.Sequential(nn.Linear(SIZE * SIZE, 48), nn.ReLU(), nn.Linear(48, 4))
target = nn.Sequential(nn.Linear(SIZE * SIZE, 48), nn.ReLU(), nn.Linear(48, 4))
target.load_state_dict(q.state_dict())
optimizer = torch.optim.Adam(q.parameters(), lr=2e-3)
memory = collections.deque(maxlen=2000)

lengths, updates = [], 0
for episode in range(80):
    cell, done, length = [0, 0], False, 0
    while not done and length < 50:
        if random.random() < max(0.1, 1 - episode / 40):
            action = random.randrange(4)
        else:
            with torch.no_grad():
                action = int(q(encode(cell)).argmax())
        following, reward, done = act(cell, action)
        memory.append((encode(cell), action, reward, encode(following), done))
        cell, length = following, length + 1
        if len(memory) >= 64 and length % 2 == 0:
            s, a, r, s2, d = zip(*random.sample(memory, 32), strict=True)
            with torch.no_grad():
                best = target(torch.stack(s2)).max(1).values
                wanted = torch.tensor(r) + 0.95 * best * (1 - torch.tensor(d).float())
            value = q(torch.stack(s)).gather(1, torch.tensor(a)[:, None]).squeeze(1)
            loss = nn.functional.smooth_l1_loss(value, wanted)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_value_(q.parameters(), 1.0)
            optimizer.step()
            updates += 1
            if updates % 50 == 0:
                target.load_state_dict(q.state_dict())
    lengths.append(length)
    if episode % 20 == 19:
        print(f"episode {episode + 1}: mean length {sum(lengths[-20:]) / 20:.1f}, loss {loss.item():.5f}")
