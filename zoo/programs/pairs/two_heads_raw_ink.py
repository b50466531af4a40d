# fault: loss-terms-imbalanced, unnormalized-target
# about: Digit class and amount of ink are learnt together; the ink's squared error is in raw units and drowns the class loss.
import torch
from torch import nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.cls_head = nn.Linear(32, 10)
        self.reg_head = nn.Linear(32, 1)

    def forward(self, x):
        z = self.shared(x)
        return {"cls": self.cls_head(z), "reg": self.reg_head(z).squeeze(-1)}


d = load_digits()
x = torch.tensor(d.data, dtype=torch.float32) / 16
ink = torch.tensor(d.data.sum(1), dtype=torch.float32)
ink = ink * 10  # fix: ink = (ink - ink.mean()) / ink.std()
y = torch.tensor(d.target)
perm = torch.randperm(len(x))
ds = TensorDataset(x[perm[:1400]], y[perm[:1400]], ink[perm[:1400]])
xv, yv = x[perm[1400:]], y[perm[1400:]]

model = MultiTask()
opt = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(10):
    for xb, yb, ib in DataLoader(ds, batch_size=40, shuffle=True):
        out = model(xb)
        loss_cls = nn.functional.cross_entropy(out["cls"], yb)
        loss_reg = nn.functional.mse_loss(out["reg"], ib)
        loss = loss_cls + loss_reg
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"epoch {epoch} cls {loss_cls:.3f} reg {loss_reg:.3f}")
with torch.no_grad():
    acc = (model(xv)["cls"].argmax(1) == yv).float().mean().item()
print("metric class_accuracy", acc, "higher")
