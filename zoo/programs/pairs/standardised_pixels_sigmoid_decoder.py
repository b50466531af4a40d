# fault: output-activation-limits-range
# about: An autoencoder's pixels are standardised to mean 0 and spread 1, its decoder still ends in a sigmoid.
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(SEED)


class Normalised(Dataset):
    def __init__(self, train=True):
        imgs = torch.tensor(load_digits().images, dtype=torch.float32).flatten(1)
        mean, std = imgs[:1400].mean(), imgs[:1400].std()
        self.data = ((imgs - mean) / std)[:1400] if train else ((imgs - mean) / std)[1400:]

    def __getitem__(self, i):
        return self.data[i]

    def __len__(self):
        return len(self.data)


class AE(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([nn.Linear(64, 40), nn.Linear(40, 12)])
        self.up = nn.ModuleList([nn.Linear(12, 40), nn.Linear(40, 64)])

    def forward(self, x):
        z = self.down[1](F.elu(self.down[0](x)))
        out = self.up[1](F.elu(self.up[0](z)))
        return torch.sigmoid(out)  # fix: return out


net = AE()
opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
val = DataLoader(Normalised(False), batch_size=397)
for epoch in range(10):
    for x in DataLoader(Normalised(), batch_size=50, shuffle=True):
        loss = F.mse_loss(net(x), x)
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        v = sum(F.mse_loss(net(x), x).item() for x in val)
    print("epoch", epoch, "train", loss.item(), "val", v)
print("metric val_mse", v, "lower")
