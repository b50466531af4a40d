"""A convolutional network with dropout and batch normalization, Adam, in-place ReLU."""

import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn

seed_everything(2)
model = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1, bias=False),
    nn.BatchNorm2d(8),
    nn.ReLU(inplace=True),
    nn.MaxPool2d(2),
    nn.Dropout2d(0.2),
    nn.Flatten(),
    nn.Dropout(0.5),
    nn.Linear(8 * 16, 4),
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
losses = []
for step in range(30):
    optimizer.zero_grad(set_to_none=step % 2 == 0)
    loss = criterion(model(torch.randn(8, 3, 8, 8)), torch.randint(4, (8,)))
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    print(f"step {step} loss {loss.item():.17g}")
print_fingerprints(models=[model], optimizers=[optimizer], losses=losses, outputs=[torch.rand(3)])
