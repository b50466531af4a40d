# fault: frozen-parameters
# about: requires_grad is switched off for all but the last layer although the network is trained from scratch.
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
d = load_digits()
x = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16
y = torch.tensor(d.target)
p = torch.randperm(len(x))


class SmallCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3)
        self.conv2 = nn.Conv2d(6, 6, 3, stride=2)
        self.fc = nn.Linear(24, 10)

    def forward(self, x):
        x = torch.tanh(self.conv1(x))
        x = torch.tanh(self.conv2(x))
        return self.fc(x.flatten(1))


model = SmallCNN()
for param in model.parameters():
    param.requires_grad = False  # fix: param.requires_grad = True
for param in model.fc.parameters():
    param.requires_grad = True
optimizer = torch.optim.SGD([q for q in model.parameters() if q.requires_grad], lr=0.1, momentum=0.9)
loader = DataLoader(TensorDataset(x[p[:1400]], y[p[:1400]]), 56, shuffle=True)
for epoch in range(10):
    for xb, yb in loader:
        loss = nn.functional.cross_entropy(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("epoch", epoch, "loss", round(loss.item(), 3))
with torch.no_grad():
    print("metric accuracy", (model(x[p[1400:]]).argmax(1) == y[p[1400:]]).float().mean().item(), "higher")
