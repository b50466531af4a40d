# fault: overfitting
# about: A wide network learns sixty noisy rows by heart for three hundred epochs; validation turns after twenty.
import torch
from torch import nn
from sklearn.datasets import load_diabetes

torch.manual_seed(SEED)
EPOCHS = 300  # fix: EPOCHS = 6
X, y = load_diabetes(return_X_y=True)
X = torch.tensor(X / X.std(0), dtype=torch.float32)
y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
p = torch.randperm(442)
tr, va = p[:60], p[60:]


def make(width):
    return nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))


model = make(256)
opt = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(EPOCHS):
    model.train()
    for rows in tr[torch.randperm(60)].split(20):
        loss = nn.functional.mse_loss(model(X[rows]), y[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        val = nn.functional.mse_loss(model(X[va]), y[va]).item()
    if epoch % 50 == 0:
        print(f'{epoch} train {loss.item():.3f} val {val:.3f}')
print('metric val_mse', val, 'lower')
