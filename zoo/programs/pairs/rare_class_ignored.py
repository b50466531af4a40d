# fault: class-imbalance
# about: One sample in forty is positive and overlaps the rest; the network says no to everyone and looks 97 per cent right.
import torch
from torch import nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
X, y = load_digits(return_X_y=True)
X = torch.tensor(X / 16, dtype=torch.float32)
X = X + 0.3 * torch.randn_like(X)
pos = torch.tensor(y == 8)
keep_pos = torch.nonzero(pos).squeeze(1)
neg = torch.nonzero(~pos).squeeze(1)
keep_pos, neg = keep_pos[torch.randperm(len(keep_pos))], neg[torch.randperm(len(neg))]
train = torch.cat([keep_pos[:30], neg[:1200]])
test = torch.cat([keep_pos[30:], neg[1200:]])
target = pos.float()
pos_weight = torch.tensor(1.0)  # fix: pos_weight = torch.tensor(15.0)

model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1))
criterion = nn.BCEWithLogitsLoss(pos_weight=pos_weight)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=2e-3)
for epoch in range(20):
    for rows in train[torch.randperm(len(train))].split(128):
        loss = criterion(model(X[rows]).squeeze(1), target[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        said = model(X[train]).squeeze(1) > 0
        print(epoch, 'loss', loss.item(), 'train accuracy', (said == pos[train]).float().mean().item())
with torch.no_grad():
    said = model(X[test]).squeeze(1) > 0
    recall = said[pos[test]].float().mean()
    specific = (~said)[~pos[test]].float().mean()
print('metric balanced_accuracy', ((recall + specific) / 2).item(), 'higher')
