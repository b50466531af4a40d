# fault: unnormalized-input
# about: Digits as bytes 0 to 255 into an MLP of sigmoids with SGD.
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(SEED)
d = load_digits()
img = torch.tensor(d.images / 16 * 255).round().to(torch.uint8)
lab = torch.tensor(d.target)
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 10))
opt = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
for epoch in range(6):
    for rows in torch.randperm(1797).split(32):
        x = img[rows].float()  # fix: x = img[rows].float() / 255
        loss = nn.functional.cross_entropy(net(x), lab[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
with torch.no_grad():
    x = img.float()  # fix: x = img.float() / 255
    print("metric accuracy", (net(x).argmax(1) == lab).float().mean().item(), "higher")
