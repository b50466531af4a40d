# fault: batch-norm-statistics-unsettled
# about: A small residual net on digits with momentum 0.99 in BatchNorm2d; accuracy on the test set after each epoch.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
digits = load_digits()
x = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
y = torch.tensor(digits.target)
perm = torch.randperm(len(x))
tr, te = perm[:1411], perm[1411:]
MOMENTUM = 0.99  # fix: MOMENTUM = 0.1


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width, momentum=MOMENTUM)

    def forward(self, x):
        return torch.relu(x + self.bn(self.conv(x)))


model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16, momentum=MOMENTUM), nn.ReLU(), Block(16), nn.AvgPool2d(2), Block(16),
    nn.Flatten(), nn.Linear(256, 64), nn.BatchNorm1d(64, momentum=MOMENTUM), nn.ReLU(), nn.Linear(64, 10),
)
opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[tr], y[tr]), batch_size=64, shuffle=True)


def accuracy(model, idx):
    model.eval()
    right = 0
    with torch.no_grad():
        for part in idx.split(100):
            right += (model(x[part]).argmax(1) == y[part]).sum().item()
    return right / len(idx)


for epoch in range(5):
    model.train()
    for xb, yb in loader:
        opt.zero_grad()
        nn.functional.cross_entropy(model(xb), yb).backward()
        opt.step()
    acc = accuracy(model, te)
    print(epoch, acc)
print(f"metric accuracy {acc:.4f} higher")
