# fault: unclipped-gradients, exploding-gradients, learning-rate-too-high
# about: A ReLU recurrence over sixty steps is trained with momentum and without clipping; one bad batch throws it off.
import torch
from torch import nn

torch.manual_seed(SEED)


def adding_problem(n, length=60):
    values = torch.rand(n, length)
    marks = torch.zeros(n, length)
    for row in range(n):
        i, j = torch.randperm(length)[:2]
        marks[row, i] = marks[row, j] = 1
    return torch.stack([values, marks], -1), (values * marks).sum(1, keepdim=True)


class Adder(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.rnn = nn.RNN(2, hidden, nonlinearity="relu", batch_first=True)
        nn.init.eye_(self.rnn.weight_hh_l0)
        self.rnn.weight_hh_l0.data.mul_(1.03)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.fc(self.rnn(x)[0][:, -1])


x, y = adding_problem(800)
model = Adder()
opt = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
for epoch in range(8):
    total = 0
    for rows in torch.randperm(700).split(25):
        loss = nn.functional.mse_loss(model(x[rows]), y[rows])
        opt.zero_grad()
        loss.backward()
        # add: nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        opt.step()
        total += loss.item()
    print(f"epoch {epoch} loss {total / 28:.5g}")
with torch.no_grad():
    print("metric test_mse", nn.functional.mse_loss(model(x[700:]), y[700:]).item(), "lower")
