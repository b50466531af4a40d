"""A generative adversarial network with two optimizers, on digits."""

import os

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

torch.manual_seed(int(os.environ.get("SEED", 0)))

nz = 16
G = nn.Sequential(
    nn.Linear(nz, 64),
    nn.BatchNorm1d(64),
    nn.ReLU(True),
    nn.Linear(64, 128),
    nn.BatchNorm1d(128),
    nn.ReLU(True),
    nn.Linear(128, 64),
    nn.Tanh(),
)
D = nn.Sequential(
    nn.Linear(64, 128),
    nn.LeakyReLU(0.2),
    nn.Dropout(0.3),
    nn.Linear(128, 64),
    nn.LeakyReLU(0.2),
    nn.Linear(64, 1),
)

images = torch.tensor(load_digits().data, dtype=torch.float32) / 8 - 1
loader = DataLoader(images, batch_size=64, shuffle=True, drop_last=True)
criterion = nn.BCEWithLogitsLoss()
optD = torch.optim.Adam(D.parameters(), lr=4e-4, betas=(0.5, 0.999))
optG = torch.optim.Adam(G.parameters(), lr=4e-4, betas=(0.5, 0.999))

for epoch in range(20):
    for real in loader:
        b = real.size(0)
        # update D: maximise log D(x) + log(1 - D(G(z)))
        D.zero_grad()
        lossD_real = criterion(D(real).view(-1), torch.full((b,), 0.9))
        lossD_real.backward()
        fake = G(torch.randn(b, nz))
        lossD_fake = criterion(D(fake.detach()).view(-1), torch.zeros(b))
        lossD_fake.backward()
        optD.step()

        # update G: maximise log D(G(z))
        G.zero_grad()
        lossG = criterion(D(fake).view(-1), torch.ones(b))
        lossG.backward()
        optG.step()
    if epoch % 4 == 3:
        print(f"[{epoch}] Loss_D: {(lossD_real + lossD_fake).item():.4f} Loss_G: {lossG.item():.4f}")

G.eval()
with torch.no_grad():
    sample = G(torch.randn(200, nz))
print("distance of mean images", (sample.mean(0) - images.mean(0)).abs().mean().item())
