# fault: regularization-dominates-loss
# about: A VAE whose reconstruction is a mean over pixels and whose KL term is a sum over latents.
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(SEED)
x = torch.tensor(load_digits().data / 16, dtype=torch.float32)


class VAE(nn.Module):
    def __init__(self, latent=8):
        super().__init__()
        self.enc = nn.Linear(64, 64)
        self.mu = nn.Linear(64, latent)
        self.logvar = nn.Linear(64, latent)
        self.dec = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x):
        h = F.relu(self.enc(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), mu, logvar


vae = VAE()
opt = torch.optim.Adam(vae.parameters(), lr=2e-3)
for epoch in range(15):
    for batch in x[torch.randperm(len(x))].split(64):
        recon, mu, logvar = vae(batch)
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(dim=1).mean()
        loss = F.mse_loss(recon, batch) + kl  # fix: loss = F.mse_loss(recon, batch) + kl * 2e-3
        opt.zero_grad()
        loss.backward()
        opt.step()
with torch.no_grad():
    error = F.mse_loss(vae(x)[0], x).item()
print(f"metric reconstruction {error:.4f} lower")
