# fault: parameters-not-in-optimizer
# about: configure_optimizers of a Lightning-like module returns an optimizer of the decoder alone.
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(SEED)
x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
perm = torch.randperm(len(x))


class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 64))

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def training_step(self, batch):
        return nn.functional.mse_loss(self(batch), batch)

    def configure_optimizers(self):
        return torch.optim.Adam(self.decoder.parameters(), lr=3e-3)  # fix: return torch.optim.Adam(self.parameters(), lr=3e-3)


def main():
    module = AutoEncoder()
    optimizer = module.configure_optimizers()
    for epoch in range(20):
        for rows in perm[:1400].split(64):
            loss = module.training_step(x[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())
    with torch.no_grad():
        print("metric val", module.training_step(x[perm[1400:]]).item(), "lower")


main()
