# fault: padding-in-loss
# about: Rows of a digit are float vectors, one label a row, padded with zeros and label 0; loss over flattened steps.
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.utils.rnn import pad_sequence

torch.manual_seed(SEED)
d = load_digits()
images, labels = torch.tensor(d.data / 16, dtype=torch.float32), torch.tensor(d.target)
data = []
at = 0
while at < 1780:
    n = int(torch.randint(1, 12, (1,)))
    data.append((images[at : at + n], labels[at : at + n]))
    at += n


def collate(rows):
    return pad_sequence([r[0] for r in rows], True), pad_sequence([r[1] for r in rows], True), torch.tensor([len(r[1]) for r in rows])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(64, 32)
        self.rnn = nn.GRU(32, 32, batch_first=True)
        self.cls = nn.Linear(32, 10)

    def forward(self, x):
        return self.cls(self.rnn(torch.relu(self.proj(x)))[0])


net = Net()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
loader = torch.utils.data.DataLoader(data[:-40], batch_size=8, shuffle=True, collate_fn=collate)
criterion = nn.CrossEntropyLoss()
for epoch in range(5):
    for x, y, n in loader:
        real = (torch.arange(x.shape[1])[None] < n[:, None]).flatten()
        scores = net(x).flatten(0, 1)
        loss = criterion(scores, y.flatten())  # fix: loss = criterion(scores[real], y.flatten()[real])
        opt.zero_grad()
        loss.backward()
        opt.step()
net.eval()
with torch.no_grad():
    x, y, n = collate(data[-40:])
    real = (torch.arange(x.shape[1])[None] < n[:, None]).flatten()
    nll = criterion(net(x).flatten(0, 1)[real], y.flatten()[real]).item()
print(f"metric nll {nll:.4f} lower")
