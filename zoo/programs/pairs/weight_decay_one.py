# fault: weight-decay-too-strong
# about: weight_decay=0.5 with SGD pulls every weight to zero faster than the loss can push it out.
import torch
from torch import nn, optim
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
x, y = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(x / 16).float(), torch.tensor(y))
train_data, val_data = torch.utils.data.random_split(data, (1400, 397))
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.5)  # fix: optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
loss_fn = nn.CrossEntropyLoss()
for epoch in range(8):
    for xb, yb in DataLoader(train_data, batch_size=40, shuffle=True):
        loss = loss_fn(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print('epoch', epoch, 'loss', loss.item())
with torch.no_grad():
    xv, yv = val_data[:]
    print('metric val_accuracy', (model(xv).argmax(1) == yv).float().mean().item(), 'higher')
