# fault: learning-rate-too-low
# about: An LSTM that should tell rising from falling walks is trained by Adam with 1e-7.
import torch
from torch import nn

torch.manual_seed(SEED)


def walks(n, length=25):
    drift = torch.where(torch.rand(n) < 0.5, -0.25, 0.25)
    steps = torch.randn(n, length) + drift[:, None]
    return steps.cumsum(1).unsqueeze(-1) / 5, (drift > 0).long()


class WalkLSTM(nn.Module):
    def __init__(self, hidden_dim=32):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden_dim, batch_first=True)
        self.linear = nn.Linear(hidden_dim, 2)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.linear(out[:, -1, :])


config = {"lr": 1e-7, "epochs": 8, "batch": 32}  # fix: config = {"lr": 3e-3, "epochs": 8, "batch": 32}
x, y = walks(1200)
xv, yv = walks(600)
model = WalkLSTM()
opt = torch.optim.Adam(model.parameters(), lr=config["lr"])
for epoch in range(config["epochs"]):
    for i in torch.randperm(1200).split(config["batch"]):
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(x[i]), y[i])
        loss.backward()
        opt.step()
    print("epoch", epoch, "loss", loss.item())
with torch.no_grad():
    print("metric val_ce", nn.functional.cross_entropy(model(xv), yv).item(), "lower")
