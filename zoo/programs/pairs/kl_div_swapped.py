# fault: loss-arguments-swapped
# about: Distillation calls kl_div with the teacher's probabilities first and the student's log-probabilities second.
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 16.0).float(), torch.tensor(y)
r = torch.randperm(len(x))
xt, yt, xv, yv = x[r[:1300]], y[r[:1300]], x[r[1300:]], y[r[1300:]]

teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
student = nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
T = 2.0

# 1. teacher
opt_t = torch.optim.Adam(teacher.parameters(), lr=2e-3)
for _ in range(12):
    for b in torch.randperm(len(xt)).split(50):
        loss = F.cross_entropy(teacher(xt[b]), yt[b])
        opt_t.zero_grad(); loss.backward(); opt_t.step()
teacher.eval().requires_grad_(False)

# 2. student, from the teacher's soft answers only
opt_s = torch.optim.Adam(student.parameters(), lr=5e-3)
for ep in range(15):
    for b in torch.randperm(len(xt)).split(50):
        soft = F.softmax(teacher(xt[b]) / T, dim=1)
        logp = F.log_softmax(student(xt[b]) / T, dim=1)
        loss = F.kl_div(soft, logp, reduction='batchmean') * T * T  # fix: loss = F.kl_div(logp, soft, reduction='batchmean') * T * T
        opt_s.zero_grad(); loss.backward(); opt_s.step()
    print(ep, loss.item())
with torch.no_grad():
    print('metric accuracy', (student(xv).argmax(1) == yv).float().mean().item(), 'higher')
