# fault: output-activation-limits-range
# about: Every layer including the last goes through F.relu, so scores of classes cannot be negative and many die.
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(SEED + 7)
data = load_digits()
X = torch.tensor(data.data, dtype=torch.float32) / 16
Y = torch.tensor(data.target)
order = torch.randperm(len(X))
X, Y = X[order], Y[order]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = torch.nn.Linear(64, 50)
        self.fc2 = torch.nn.Linear(50, 30)
        self.fc3 = torch.nn.Linear(30, 10)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = F.relu(self.fc3(x))  # fix: x = self.fc3(x)
        return x


net = Net()
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for ep in range(12):
    for i in range(0, 1440, 30):
        opt.zero_grad()
        loss = F.cross_entropy(net(X[i:i + 30]), Y[i:i + 30])
        loss.backward()
        opt.step()
    print(f"epoch {ep} loss {loss:.4f}")
with torch.no_grad():
    out = net(X[1440:])
    # ties between several zeros are no answer
    best = out.max(1)
    sure = (out == best.values[:, None]).sum(1) == 1
    print("metric accuracy", ((best.indices == Y[1440:]) & sure).float().mean().item(), "higher")
