# fault: unnormalized-input
# about: Thirteen measurements between 0.1 and 1700 go into an MLP as they are.
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

torch.manual_seed(SEED)
wine = load_wine()
x_train, x_test, y_train, y_test = train_test_split(
    torch.tensor(wine.data, dtype=torch.float32), torch.tensor(wine.target), test_size=0.3, random_state=SEED, stratify=wine.target)
mu, sigma = x_train.mean(0), x_train.std(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(13, 32)
        self.l2 = nn.Linear(32, 32)
        self.l3 = nn.Linear(32, 3)

    def forward(self, x):
        x = x  # fix: x = (x - mu) / sigma
        x = torch.relu(self.l1(x))
        x = torch.relu(self.l2(x))
        return self.l3(x)


net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
criterion = nn.CrossEntropyLoss()
for epoch in range(30):
    perm = torch.randperm(len(x_train))
    for i in range(0, len(perm), 16):
        idx = perm[i:i + 16]
        optimizer.zero_grad()
        loss = criterion(net(x_train[idx]), y_train[idx])
        loss.backward()
        optimizer.step()
    if epoch % 10 == 0:
        print('Epoch:', epoch, 'Loss:', loss.item())
with torch.no_grad():
    print('metric accuracy', (net(x_test).argmax(1) == y_test).float().mean().item(), 'higher')
