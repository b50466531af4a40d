# fault: inconsistent-preprocessing
# about: Training images are divided by 16; the validation loader forgets to.
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader
from sklearn.datasets import load_digits

torch.manual_seed(SEED)


class Digits(Dataset):
    def __init__(self, indices, transform=None):
        d = load_digits()
        self.images, self.targets = d.images[indices], d.target[indices]
        self.transform = transform

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        img = torch.tensor(self.images[i], dtype=torch.float32).unsqueeze(0)
        if self.transform:
            img = self.transform(img)
        return img, self.targets[i]


normalize = lambda img: (img / 16 - 0.3) / 0.38
perm = torch.randperm(1797).numpy()
train_loader = DataLoader(Digits(perm[:1300], transform=normalize), batch_size=50, shuffle=True)
val_loader = DataLoader(Digits(perm[1300:]), batch_size=100)  # fix: val_loader = DataLoader(Digits(perm[1300:], transform=normalize), batch_size=100)

model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, 10))
opt = torch.optim.Adam(model.parameters(), lr=1e-3)
crit = nn.CrossEntropyLoss()
for epoch in range(5):
    model.train()
    for images, targets in train_loader:
        opt.zero_grad()
        loss = crit(model(images), targets)
        loss.backward()
        opt.step()
    model.eval()
    val_loss = 0
    with torch.no_grad():
        for images, targets in val_loader:
            val_loss += crit(model(images), targets).item() * len(targets) / 497
    print(f'Epoch {epoch}: train {loss.item():.3f} val {val_loss:.3f}')
print('metric val_loss', val_loss, 'lower')
