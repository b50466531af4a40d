# fault: unnormalized-input
# about: Brain waves in volts (some 1e-5) into a 1d CNN; at such a size the first layer hears nothing.
import torch
from torch import nn

torch.manual_seed(SEED)
n = 600
k = torch.randint(0, 2, (n,))
t = torch.arange(64) / 64
freq = torch.where(k == 0, 6.0, 11.0)[:, None]
eeg = torch.sin(2 * 3.1416 * (freq * t + torch.rand(n, 1))) + 0.8 * torch.randn(n, 64)
eeg = eeg[:, None] * 2e-5  # fix: eeg = eeg[:, None] / eeg.std()
net = nn.Sequential(nn.Conv1d(1, 8, 9, stride=2), nn.ReLU(), nn.Conv1d(8, 16, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 2))
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
for epoch in range(10):
    for rows in torch.randperm(n).split(30):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(eeg[rows]), k[rows])
        loss.backward()
        opt.step()
with torch.no_grad():
    print("metric accuracy", (net(eeg).argmax(1) == k).float().mean().item(), "higher")
