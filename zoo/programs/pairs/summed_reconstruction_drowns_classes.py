# fault: loss-terms-imbalanced
# about: A classifier with a helper decoder adds a reconstruction loss that is summed over batch and pixels to a mean class loss.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
d = load_digits()
x = torch.tensor(d.data / 16, dtype=torch.float32)
x = x + 0.3 * torch.randn_like(x)
y = torch.tensor(d.target)
p = torch.randperm(len(x))
loader = DataLoader(TensorDataset(x[p[:1000]], y[p[:1000]]), batch_size=50, shuffle=True)


class SemiNet(nn.Module):
    def __init__(self, code=6):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, code))
        self.decoder = nn.Sequential(nn.ReLU(), nn.Linear(code, 64))
        self.classifier = nn.Linear(code, 10)

    def forward(self, x):
        z = self.encoder(x)
        return self.classifier(z), self.decoder(z)


net = SemiNet()
rec_loss = nn.MSELoss(reduction='sum')  # fix: rec_loss = nn.MSELoss()
cls_loss = nn.CrossEntropyLoss()
opt = torch.optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(15):
    for xb, yb in loader:
        scores, rebuilt = net(xb)
        lc, lr = cls_loss(scores, yb), rec_loss(rebuilt, xb)
        loss = lc + lr
        opt.zero_grad()
        loss.backward()
        opt.step()
    print('epoch', epoch, 'class', lc.item(), 'reconstruction', lr.item())
with torch.no_grad():
    print('metric class_ce', cls_loss(net(x[p[1000:]])[0], y[p[1000:]]).item(), 'lower')
