# fault: numerical-instability, missing-values
# about: Digits are standardised pixel by pixel; three corner pixels are always 0, so their spread is 0 and the rest is NaN.
import torch
from torch import nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
features, labels = load_digits(return_X_y=True)
features = torch.tensor(features, dtype=torch.float32)
labels = torch.tensor(labels)
shuffle = torch.randperm(len(features))
features, labels = features[shuffle], labels[shuffle]
mean, std = features[:1400].mean(0), features[:1400].std(0)
features = (features - mean) / std  # fix: features = (features - mean) / (std + 1e-1)

loader = DataLoader(TensorDataset(features[:1400], labels[:1400]), batch_size=50, shuffle=True)
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
criterion = nn.CrossEntropyLoss()
for epoch in range(5):
    running = 0
    for data, target in loader:
        optimizer.zero_grad()
        loss = criterion(model(data), target)
        loss.backward()
        optimizer.step()
        running += loss.item()
    print('epoch', epoch, 'loss', running / len(loader))
with torch.no_grad():
    print('metric accuracy', (model(features[1400:]).argmax(1) == labels[1400:]).float().mean().item(), 'higher')
