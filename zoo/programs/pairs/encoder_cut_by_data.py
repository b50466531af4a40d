# fault: loss-detached, disconnected-parameters
# about: The features go through .data before the head, so the convolutions in front never learn.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
d = load_digits()
x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16 - 0.3
y = torch.tensor(d.target)
r = torch.randperm(len(x))
loader = DataLoader(TensorDataset(x[r[:1400]], y[r[:1400]]), batch_size=70, shuffle=True)


class TwoPart(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.Tanh(), nn.Conv2d(8, 6, 3), nn.Tanh(), nn.Flatten())
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        features = self.encoder(x)
        features = features.data  # fix:
        return self.head(features)


model = TwoPart()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(12):
    for xb, yb in loader:
        loss = nn.CrossEntropyLoss()(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("epoch", epoch, "loss", loss.item())
with torch.no_grad():
    print("metric accuracy", (model(x[r[1400:]]).argmax(1) == y[r[1400:]]).float().mean().item(), "higher")
