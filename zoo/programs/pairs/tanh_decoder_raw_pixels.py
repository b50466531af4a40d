# fault: output-activation-limits-range
# about: The decoder ends in Tanh, the pixels to be rebuilt run from 0 to 16.
import torch
import torch.nn as nn
from torch.utils.data import DataLoader
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
PIXELS = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1)
PIXELS = PIXELS[torch.randperm(len(PIXELS))]


def encoder():
    return nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 12))


def decoder():
    return nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Unflatten(1, (8, 4, 4)),
                         nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
                         nn.Tanh())  # fix: nn.Identity())


class CAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = encoder(), decoder()

    def forward(self, x):
        return self.decoder(self.encoder(x / 16))


def epoch_of(model, loader, opt=None):
    total = 0
    for x in loader:
        with torch.set_grad_enabled(opt is not None):
            loss = nn.functional.mse_loss(model(x), x)
        if opt:
            opt.zero_grad()
            loss.backward()
            opt.step()
        total += loss.item() * len(x)
    return total / len(loader.dataset)


model = CAE()
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
train_loader = DataLoader(PIXELS[:1500], batch_size=60, shuffle=True)
val_loader = DataLoader(PIXELS[1500:], batch_size=100)
for e in range(12):
    tr, va = epoch_of(model, train_loader, opt), epoch_of(model, val_loader)
    print(f"{e:2d}  train {tr:.3f}  val {va:.3f}")
print(f"metric val_mse {va:.4f} lower")
