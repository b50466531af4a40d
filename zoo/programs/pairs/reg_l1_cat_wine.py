# fault: regularization-dominates-loss
# about: A full-batch wine classifier with an L1 norm over all parameters (torch.cat) and a factor of 0.05.
import torch
from sklearn.datasets import load_wine
from torch import nn

torch.manual_seed(SEED)
data = load_wine()
x = torch.tensor(data.data, dtype=torch.float32)
x = (x - x.mean(0)) / x.std(0)
y = torch.tensor(data.target)
model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
criterion = nn.CrossEntropyLoss()
lam = 0.05  # fix: lam = 1e-4
for step in range(400):
    optimizer.zero_grad()
    everything = torch.cat([p.view(-1) for p in model.parameters()])
    loss = criterion(model(x), y) + lam * torch.norm(everything, 1)
    loss.backward()
    optimizer.step()
    if step % 100 == 99:
        print(step + 1, loss.item())
with torch.no_grad():
    acc = (model(x).argmax(1) == y).float().mean().item()
print(f"metric accuracy {acc:.4f} higher")
