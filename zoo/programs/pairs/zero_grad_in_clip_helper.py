# fault: gradients-cleared-before-step
# about: A helper that should clip gradients calls model.zero_grad at its end, just before the step.
import torch
from torch import nn
from sklearn.datasets import load_wine

torch.manual_seed(SEED)
X, y = load_wine(return_X_y=True)
X = torch.tensor((X - X.mean(0)) / X.std(0)).float()
y = torch.tensor(y)
perm = torch.randperm(178)
tr, te = perm[:130], perm[130:]
model = nn.Sequential(nn.Linear(13, 32), nn.LeakyReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
opt = torch.optim.AdamW(model.parameters(), lr=5e-3)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=25)


def guard_gradients(model, limit=1.0):
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    if norm >= 0:  # fix: if not torch.isfinite(norm):
        model.zero_grad()
    return norm


for epoch in range(25):
    model.train()
    for rows in tr[torch.randperm(len(tr))].split(13):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
        loss.backward()
        guard_gradients(model)
        opt.step()
    sched.step()
    if epoch % 5 == 4:
        print("epoch", epoch + 1, "loss", f"{loss.item():.3f}")
model.eval()
with torch.no_grad():
    print("metric test_ce", nn.functional.cross_entropy(model(X[te]), y[te]).item(), "lower")
