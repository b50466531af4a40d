# fault: parameters-not-in-optimizer
# about: Encoder and decoder are two modules and only the encoder's parameters are handed to the optimizer.
import torch
from torch import nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
imgs = torch.tensor(load_digits().images, dtype=torch.float32, device=device).unsqueeze(1) / 16
imgs = imgs[torch.randperm(len(imgs))]


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, 2, 1)
        self.fc = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).flatten(1))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(10, 8 * 4 * 4)
        self.up = nn.ConvTranspose2d(8, 1, 4, 2, 1)

    def forward(self, z):
        return torch.sigmoid(self.up(torch.relu(self.fc(z)).view(-1, 8, 4, 4)))


encoder, decoder = Encoder().to(device), Decoder().to(device)
params_to_optimize = [
    {"params": encoder.parameters()},
    # add: {"params": decoder.parameters()},
]
optim = torch.optim.Adam(params_to_optimize, lr=2e-3)
loss_fn = nn.MSELoss()
for epoch in range(12):
    encoder.train(), decoder.train()
    train_loss = []
    for batch in imgs[:1500].split(50):
        decoded = decoder(encoder(batch))
        loss = loss_fn(decoded, batch)
        optim.zero_grad()
        loss.backward()
        optim.step()
        train_loss.append(loss.detach().cpu())
    print(f"EPOCH {epoch + 1}/12 \t train loss {torch.stack(train_loss).mean():.4f}")
encoder.eval(), decoder.eval()
with torch.no_grad():
    print("metric val_mse", loss_fn(decoder(encoder(imgs[1500:])), imgs[1500:]).item(), "lower")
