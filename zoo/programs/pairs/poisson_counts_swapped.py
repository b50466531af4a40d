# fault: loss-arguments-swapped
# about: PoissonNLLLoss takes (log rate, count) and gets (count, log rate) in a model of daily visits.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
n = 1500
weekday = torch.randint(0, 7, (n,))
weather = torch.randn(n)
base = torch.tensor([0.2, 0.4, 0.5, 0.3, 1.0, 1.6, 1.3])
visits = torch.poisson(torch.exp(base[weekday] + 0.4 * weather))
x = torch.cat([nn.functional.one_hot(weekday, 7).float(), weather[:, None]], 1)
loader = DataLoader(TensorDataset(x[:1200], visits[:1200]), batch_size=40, shuffle=True)


class CountModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(8, 16)
        self.fc2 = nn.Linear(16, 1)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x))).squeeze(1)


model = CountModel()
opt = torch.optim.Adam(model.parameters(), lr=5e-3)
poisson = nn.PoissonNLLLoss(log_input=True)
for epoch in range(10):
    for xb, yb in loader:
        log_rate = model(xb)
        loss = poisson(yb, log_rate)  # fix: loss = poisson(log_rate, yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print("epoch", epoch, "loss", loss.item())
with torch.no_grad():
    print("metric mean_absolute_error", (model(x[1200:]).exp() - visits[1200:]).abs().mean().item(), "lower")
