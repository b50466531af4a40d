# fault: labels-unrelated-to-inputs
# about: A collate function pairs each sample with the label of the next one in the batch.
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from sklearn.datasets import load_breast_cancer

torch.manual_seed(SEED)


class Rows(Dataset):
    def __init__(self):
        X, y = load_breast_cancer(return_X_y=True)
        self.X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
        self.y = torch.tensor(y)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


def collate(samples):
    xs, ys = zip(*samples)
    ys = ys[1:] + ys[:1]  # fix: ys = list(ys)
    return torch.stack(xs), torch.stack(list(ys))


rows = Rows()
train, test = torch.utils.data.random_split(rows, [400, 169])
net = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 2))
opt = torch.optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(12):
    net.train()
    for x, y in DataLoader(train, batch_size=25, shuffle=True, collate_fn=collate):
        loss = nn.functional.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print("epoch", epoch, "loss", f"{loss.item():.3f}")
net.eval()
with torch.no_grad():
    x, y = rows.X[test.indices], rows.y[test.indices]
    print("metric accuracy", (net(x).argmax(1) == y).float().mean().item(), "higher")
