# fault: output-activation-limits-range
# about: A sequence classifier ends in tanh, so class scores stay between -1 and 1 and no answer can be sure.
import torch
from torch import nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)


class Rows(nn.Module):
    """Reads a digit row by row."""

    def __init__(self, hidden=48, classes=10):
        super().__init__()
        self.rnn = nn.GRU(8, hidden, batch_first=True)
        self.fc = nn.Sequential(
            nn.Linear(hidden, classes),
            nn.Tanh(),  # fix:
        )

    def forward(self, x):
        return self.fc(self.rnn(x)[1].squeeze(0))


def main():
    d = load_digits()
    X, y = torch.tensor(d.images / 16).float(), torch.tensor(d.target)
    p = torch.randperm(len(X))
    train, test = p[:1400], p[1400:]
    net = Rows()
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    lossf = nn.CrossEntropyLoss()
    for epoch in range(8):
        for b in train[torch.randperm(1400)].split(50):
            loss = lossf(net(X[b]), y[b])
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"{epoch}: {loss.item():.3f}")
    with torch.no_grad():
        print("metric test_ce", lossf(net(X[test]), y[test]).item(), "lower")


main()
