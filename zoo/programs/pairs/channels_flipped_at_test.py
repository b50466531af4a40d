# fault: inconsistent-preprocessing, distribution-shift
# about: Training pictures are inverted to dark on light by the loader, test pictures stay light on dark.
import torch
import torch.nn.functional as F
from torch import nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
raw, label = load_digits(return_X_y=True)
raw = torch.tensor(raw, dtype=torch.float32).view(-1, 1, 8, 8) / 16
label = torch.tensor(label)
split = torch.randperm(len(raw))


def load(kind):
    rows = split[:1400] if kind == "train" else split[1400:]
    pictures = raw[rows]
    if kind == "train":  # fix: if kind in ("train", "test"):
        pictures = 1 - pictures
    return pictures - 0.5, label[rows]


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 16, 3)
        self.f1, self.f2 = nn.Linear(64, 48), nn.Linear(48, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.c1(x)), 2)
        x = F.relu(self.c2(x))
        return self.f2(F.relu(self.f1(x.flatten(1))))


model = LeNet()
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
xtr, ytr = load("train")
xte, yte = load("test")
for epoch in range(8):
    model.train()
    for b in torch.randperm(1400).split(40):
        loss = F.cross_entropy(model(xtr[b]), ytr[b])
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        test_loss = F.cross_entropy(model(xte), yte).item()
    print(epoch, loss.item(), test_loss)
with torch.no_grad():
    print("metric test_accuracy", (model(xte).argmax(1) == yte).float().mean().item(), "higher")
