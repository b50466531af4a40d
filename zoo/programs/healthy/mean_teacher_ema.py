"""Semi-supervised: a student learns from few labels and from agreeing with a moving average of itself."""

import copy
import os

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
X, y = load_digits(return_X_y=True)
X, y = torch.tensor((X - X.mean()) / X.std(), dtype=torch.float32), torch.tensor(y)
perm = torch.randperm(len(X))
labelled, unlabelled, test = perm[:300], perm[300:1400], perm[1400:]

student = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
teacher = copy.deepcopy(student).eval()
for p in teacher.parameters():
    p.requires_grad_(False)
optimizer = torch.optim.Adam(student.parameters(), lr=2e-3)

for step in range(400):
    student.train()
    few = labelled[torch.randint(len(labelled), (32,))]
    many = unlabelled[torch.randint(len(unlabelled), (96,))]
    supervised = F.cross_entropy(student(X[few] + 0.3 * torch.randn(32, 64)), y[few])
    with torch.no_grad():
        wanted = teacher(X[many]).softmax(1)
    consistency = F.mse_loss(student(X[many] + 0.3 * torch.randn(96, 64)).softmax(1), wanted)
    loss = supervised + min(1.0, step / 200) * 5 * consistency
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
            slow.mul_(0.98).add_(fast, alpha=0.02)
    if step % 80 == 79:
        with torch.no_grad():
            accuracy = (teacher(X[test]).argmax(1) == y[test]).float().mean()
        print(f"step {step + 1} loss {loss.item():.3f} teacher accuracy {accuracy.item():.3f}")
