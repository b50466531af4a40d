# fault: dropout-too-strong
# about: F.dropout(x, 0.9) after both hidden layers, as if the number were the share to keep.
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
d = load_digits()
x, y = torch.tensor(d.data / 16, dtype=torch.float32), torch.tensor(d.target)
perm = torch.randperm(len(x))
tr, te = perm[:1400], perm[1400:]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, 10)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.dropout(x, 0.9, training=self.training)  # fix: x = F.dropout(x, 0.1, training=self.training)
        x = F.relu(self.fc2(x))
        x = F.dropout(x, 0.9, training=self.training)  # fix: x = F.dropout(x, 0.1, training=self.training)
        return self.fc3(x)


net = Net()
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
for epoch in range(10):
    net.train()
    for i in tr[torch.randperm(len(tr))].split(32):
        opt.zero_grad()
        F.cross_entropy(net(x[i]), y[i]).backward()
        opt.step()
net.eval()
with torch.no_grad():
    acc = (net(x[te]).argmax(1) == y[te]).float().mean().item()
print(f"metric accuracy {acc:.4f} higher")
