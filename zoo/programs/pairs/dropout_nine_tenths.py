# fault: dropout-too-strong
# about: p=0.9 was meant as the share to keep; nn.Dropout takes it as the share to drop, after each layer.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
KEEP_PROB = 0.9
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
perm = torch.randperm(len(X))
P = KEEP_PROB  # fix: P = 1 - KEEP_PROB

model = nn.Sequential(
    nn.Linear(64, 40), nn.ReLU(), nn.Dropout(P),
    nn.Linear(40, 40), nn.ReLU(), nn.Dropout(P),
    nn.Linear(40, 10),
)
opt = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(15):
    model.train()
    for rows in perm[:1400][torch.randperm(1400)].split(50):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        out = model(X[perm[1400:]])
        val = nn.functional.cross_entropy(out, y[perm[1400:]]).item()
    if epoch % 3 == 2:
        print(f'{epoch + 1:2d} train {loss.item():.3f} val {val:.3f}')
print('metric val_ce', val, 'lower')
