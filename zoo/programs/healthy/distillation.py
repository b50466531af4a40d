"""Knowledge distillation: a wide teacher first, then a small student learns from its softened scores."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", 0)))
data, target = load_digits(return_X_y=True)
data = torch.as_tensor(data, dtype=torch.float32).sub(4.9).div(6.0)
target = torch.as_tensor(target)
perm = torch.randperm(len(data))
train, held_out = perm[:1400], perm[1400:]
loader = DataLoader(TensorDataset(data[train], target[train]), batch_size=64, shuffle=True)


def test(net):
    net.eval()
    with torch.no_grad():
        return (net(data[held_out]).argmax(1) == target[held_out]).float().mean().item()


teacher = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 10))
optimizer = optim.Adam(teacher.parameters(), lr=1e-3)
for _ in range(10):
    teacher.train()
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        optimizer.step()
print("teacher", test(teacher))

student = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
optimizer = optim.Adam(student.parameters(), lr=5e-3)
T, alpha = 3.0, 0.7
teacher.eval()
for epoch in range(12):
    student.train()
    for x, y in loader:
        with torch.no_grad():
            soft = F.softmax(teacher(x) / T, dim=1)
        scores = student(x)
        distill = F.kl_div(F.log_softmax(scores / T, dim=1), soft, reduction="batchmean") * T * T
        loss = alpha * distill + (1 - alpha) * F.cross_entropy(scores, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("student", epoch, round(loss.item(), 4), test(student))
