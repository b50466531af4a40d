# fault: output-activation-limits-range
# about: The regressor ends in a ReLU although the standardised target is negative half of the time.
import torch
from torch import nn
from torch.utils.data import TensorDataset, DataLoader
from sklearn.datasets import load_diabetes

torch.manual_seed(SEED)
bunch = load_diabetes()
x = torch.tensor(bunch.data, dtype=torch.float32) * 21
y = torch.tensor(bunch.target, dtype=torch.float32)
perm = torch.randperm(442)
x, y = x[perm], y[perm]
mu, sd = y[:350].mean(), y[:350].std()
y = ((y - mu) / sd).unsqueeze(1)
train_dl = DataLoader(TensorDataset(x[:350], y[:350]), batch_size=25, shuffle=True)


class Regressor(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.fc1 = nn.Linear(10, hidden)
        self.fc2 = nn.Linear(hidden, 1)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        return torch.relu(self.fc2(x))  # fix: return self.fc2(x)


model = Regressor()
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, weight_decay=1e-3)
mse = nn.MSELoss()
for epoch in range(40):
    for xb, yb in train_dl:
        loss = mse(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 10 == 0:
        print(f"epoch {epoch}: {loss.item():.3f}")
model.eval()
with torch.no_grad():
    print("metric val_mse", mse(model(x[350:]), y[350:]).item(), "lower")
