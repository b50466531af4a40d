# fault: parameters-not-in-optimizer
# about: For the second task the last layer is replaced after the optimizer was made, and only the frozen rest is in it.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
data = load_digits()
x = torch.tensor(data.data / 16, dtype=torch.float32)
y = torch.tensor(data.target)
a, b = y < 5, y >= 5


class Pretrained(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        return self.fc(self.features(x))


def run(model, optimizer, x, y, epochs):
    for e in range(epochs):
        for i in torch.randperm(len(x)).split(30):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[i]), y[i])
            loss.backward()
            optimizer.step()
    print("after", epochs, "epochs:", loss.item())


net = Pretrained()
run(net, torch.optim.Adam(net.parameters(), lr=2e-3), x[a], y[a], 6)

# transfer to the other five digits
optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
net.fc = nn.Linear(32, 5)
# add: optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
for p in net.features.parameters():
    p.requires_grad = False
n = 700
run(net, optimizer, x[b][:n], y[b][:n] - 5, 8)
with torch.no_grad():
    print("metric accuracy", (net(x[b][n:]).argmax(1) == y[b][n:] - 5).float().mean().item(), "higher")
