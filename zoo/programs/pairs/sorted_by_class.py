# fault: unshuffled-data
# about: The files were read folder by folder and the loader does not shuffle; each batch holds one digit.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

torch.manual_seed(SEED)
d = load_digits()
perm = torch.randperm(1797)
images, target = torch.tensor(d.images / 16, dtype=torch.float32)[perm], torch.tensor(d.target)[perm]
train_x, train_y, test_x, test_y = images[:1400], target[:1400], images[1400:], target[1400:]

# one "folder" for each class
folders = [TensorDataset(train_x[train_y == c], train_y[train_y == c]) for c in range(10)]
loader = DataLoader(ConcatDataset(folders), batch_size=20)  # fix: loader = DataLoader(ConcatDataset(folders), batch_size=20, shuffle=True)

model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
criterion = nn.CrossEntropyLoss()
for epoch in range(8):
    train_loss = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        train_loss += loss.item()
    print('Epoch: {} \tTraining Loss: {:.6f}'.format(epoch + 1, train_loss / len(loader)))
with torch.no_grad():
    print('metric accuracy', (model(test_x).argmax(1) == test_y).float().mean().item(), 'higher')
