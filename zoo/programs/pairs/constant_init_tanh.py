# fault: symmetric-initialization
# about: All weights start at 0.1: forty hidden units stay copies of one.
import torch
from torch import nn, optim
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from sklearn.model_selection import train_test_split

torch.manual_seed(SEED)
# two moons, as a rule that one unit cannot draw
g = torch.Generator().manual_seed(SEED)
t = torch.rand(500, generator=g) * 3.1416
side = torch.randint(0, 2, (500,), generator=g)
x = torch.stack([torch.cos(t) + side, torch.where(side == 1, 0.5 - torch.sin(t), torch.sin(t))], 1)
x = x + 0.1 * torch.randn(500, 2, generator=g)
x = (x - x.mean(0)) / x.std(0)

model = nn.Sequential(nn.Linear(2, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 2))
for name, p in model.named_parameters():
    if "weight" in name:
        nn.init.constant_(p, 0.1)  # fix: nn.init.xavier_uniform_(p)

optimizer = optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(60):
    for i in torch.randperm(400).split(40):
        loss = nn.functional.cross_entropy(model(x[i]), side[i])
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    if epoch % 10 == 9: print(epoch + 1, loss.item())
with torch.no_grad():
    print("metric test_ce", nn.functional.cross_entropy(model(x[400:]), side[400:]).item(), "lower")
