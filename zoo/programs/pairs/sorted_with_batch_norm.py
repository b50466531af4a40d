# fault: unshuffled-data
# about: A CNN with batch normalization sees one digit at a time.
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

torch.manual_seed(SEED)
d = load_digits()
x, y = torch.tensor(d.images / 16.0).float().unsqueeze(1), torch.tensor(d.target)
everything = TensorDataset(x, y)
perm = torch.randperm(1797).tolist()
train_ids = sorted(perm[:1400], key=lambda i: int(y[i]))  # fix: train_ids = perm[:1400]
train, test = Subset(everything, train_ids), Subset(everything, perm[1400:])
net = nn.Sequential(
    nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 10),
)


def evaluate():
    net.eval()
    with torch.no_grad():
        hits = sum((net(a).argmax(1) == b).sum().item() for a, b in DataLoader(test, 100))
    return hits / len(test)


opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
for epoch in range(6):
    net.train()
    for a, b in DataLoader(train, batch_size=28):
        opt.zero_grad()
        nn.functional.cross_entropy(net(a), b).backward()
        opt.step()
    print(epoch, evaluate())
print("metric accuracy", evaluate(), "higher")
