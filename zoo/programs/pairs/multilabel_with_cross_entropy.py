# fault: loss-unfit-for-task
# about: Several labels may hold at once, but the multi-hot targets go into CrossEntropyLoss, where scores compete.
import torch
from torch import nn
from sklearn.datasets import make_multilabel_classification
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(SEED)
X, Y = make_multilabel_classification(1500, 20, n_classes=6, n_labels=3, random_state=SEED)
X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
Y = torch.tensor(Y, dtype=torch.float32)
train, test = random_split(TensorDataset(X, Y), [1200, 300])
model = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 6))
loss_fn = nn.CrossEntropyLoss()  # fix: loss_fn = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(12):
    for xb, yb in DataLoader(train, batch_size=40, shuffle=True):
        optimizer.zero_grad()
        loss = loss_fn(model(xb), yb)
        loss.backward()
        optimizer.step()
    print(f'Epoch {epoch + 1} Loss {loss.item():.4f}')
with torch.no_grad():
    xb, yb = test[:]
    said = torch.sigmoid(model(xb)) > 0.5
    print('metric wrong_labels', (said != yb.bool()).float().mean().item(), 'lower')
