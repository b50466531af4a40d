"""An autoencoder that is sparse on purpose: an L1 penalty keeps most of its many units at zero."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(int(os.environ.get("SEED", 0)))
patches = torch.tensor(load_digits().data / 16, dtype=torch.float32)
patches = patches - patches.mean(0)
loader = DataLoader(patches[:1500], batch_size=50, shuffle=True)


class SparseAutoencoder(nn.Module):
    def __init__(self, inputs=64, units=256):
        super().__init__()
        self.encoder = nn.Linear(inputs, units)
        self.decoder = nn.Linear(units, inputs)

    def forward(self, x):
        code = torch.relu(self.encoder(x))
        return self.decoder(code), code


sae = SparseAutoencoder()
optimizer = torch.optim.Adam(sae.parameters(), lr=2e-3)
for epoch in range(20):
    sae.train()
    for batch in loader:
        rebuilt, code = sae(batch)
        loss = (rebuilt - batch).square().sum(dim=1).mean() + 0.03 * code.abs().sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 5 == 4:
        sae.eval()
        with torch.no_grad():
            rebuilt, code = sae(patches[1500:])
            error = (rebuilt - patches[1500:]).square().sum(dim=1).mean()
        print(f"epoch {epoch} loss {loss:.3f} held out {error:.3f} active {(code > 0).float().mean():.2f}")
