"""A variational autoencoder on digits: reconstruction as binary cross-entropy, summed, plus the KL term."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

torch.manual_seed(int(os.environ.get("SEED", 0)))


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 96)
        self.fc21 = nn.Linear(96, 8)
        self.fc22 = nn.Linear(96, 8)
        self.fc3 = nn.Linear(8, 96)
        self.fc4 = nn.Linear(96, 64)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x, reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


images = torch.tensor(load_digits().data / 16, dtype=torch.float32)
images = images[torch.randperm(len(images))]
train_loader = DataLoader(images[:1500], batch_size=64, shuffle=True)
test_images = images[1500:]

model = VAE()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(1, 16):
    model.train()
    train_loss = 0
    for data in train_loader:
        optimizer.zero_grad()
        recon_batch, mu, logvar = model(data)
        loss = loss_function(recon_batch, data, mu, logvar)
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        test_loss = loss_function(model(test_images)[0], test_images, *model.encode(test_images)).item()
    print(f"====> Epoch: {epoch} train {train_loss / 1500:.3f} test {test_loss / len(test_images):.3f}")
