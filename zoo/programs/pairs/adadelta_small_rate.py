# fault: learning-rate-too-low
# about: Adadelta keeps the rate of 0.001 that was right for Adam; its natural one is 1.
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

torch.manual_seed(SEED)
X, y = load_breast_cancer(return_X_y=True)
X, y = torch.tensor(scale(X), dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
perm = torch.randperm(len(X))
X_train, y_train, X_val, y_val = X[perm[:420]], y[perm[:420]], X[perm[420:]], y[perm[420:]]

model = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 1))
opt = torch.optim.Adadelta(model.parameters(), lr=0.001)  # fix: opt = torch.optim.Adadelta(model.parameters(), lr=1.0)
loss_fn = nn.BCEWithLogitsLoss()
for epoch in range(20):
    epoch_loss = []
    for rows in torch.randperm(420).split(20):
        opt.zero_grad()
        loss = loss_fn(model(X_train[rows]).squeeze(), y_train[rows])
        loss.backward()
        opt.step()
        epoch_loss.append(loss.item())
    if epoch % 4 == 0:
        print(f'Epoch {epoch}: {sum(epoch_loss) / len(epoch_loss):.4f}')
with torch.no_grad():
    print('metric val_bce', loss_fn(model(X_val).squeeze(), y_val).item(), 'lower')
