# fault: missing-optimizer-step
# about: With accumulation over 64 small batches in epochs of 45, and a counter that starts anew, the step never comes.
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits

ACCUMULATE = 64  # fix: ACCUMULATE = 4
torch.manual_seed(SEED)
X, y = load_digits(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32) / 16
y = torch.tensor(y)
idx = torch.randperm(len(X))
loader = DataLoader(TensorDataset(X[idx[:1440]], y[idx[:1440]]), batch_size=32, shuffle=True)

model = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10))
opt = optim.AdamW(model.parameters(), lr=4e-3)
for epoch in range(8):
    opt.zero_grad()
    total = 0.0
    for i, (inputs, targets) in enumerate(loader):
        loss = nn.functional.cross_entropy(model(inputs), targets) / ACCUMULATE
        loss.backward()
        if (i + 1) % ACCUMULATE == 0:
            opt.step()
            opt.zero_grad()
        total += loss.item() * ACCUMULATE
    print(f"epoch {epoch} mean loss {total / len(loader):.4f}")
with torch.no_grad():
    print("metric accuracy", (model(X[idx[1440:]]).argmax(1) == y[idx[1440:]]).float().mean().item(), "higher")
