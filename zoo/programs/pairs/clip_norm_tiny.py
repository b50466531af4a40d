# fault: gradient-clipping-too-tight
# about: Gradients are clipped to a norm of 0.001, a value copied from a weight decay, and SGD crawls.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
MAX_NORM = 0.001  # fix: MAX_NORM = 5.0
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 16).float(), torch.tensor(y)
perm = torch.randperm(len(x))
dl = DataLoader(TensorDataset(x[perm[:1400]], y[perm[:1400]]), batch_size=35, shuffle=True)


class RowLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 40, batch_first=True)
        self.fc = nn.Linear(40, 10)

    def forward(self, x):
        _, (h, _) = self.lstm(x.view(-1, 8, 8))
        return self.fc(h[0])


model = RowLSTM()
opt = torch.optim.SGD(model.parameters(), lr=0.3)
for epoch in range(10):
    for xb, yb in dl:
        loss = nn.functional.cross_entropy(model(xb), yb)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        opt.step()
    print(epoch, loss.item())
with torch.no_grad():
    print('metric accuracy', (model(x[perm[1400:]]).argmax(1) == y[perm[1400:]]).float().mean().item(), 'higher')
