# fault: scheduler-before-optimizer, learning-rate-decayed-away
# about: A StepLR that counts epochs is stepped after every batch, so the rate is gone within the first epoch.
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, 1)
        self.conv2 = nn.Conv2d(16, 16, 3, 1)
        self.dropout = nn.Dropout(0.25)
        self.fc1 = nn.Linear(256, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout(torch.flatten(x, 1))
        return F.log_softmax(self.fc1(x), dim=1)


def train(model, train_loader, optimizer, scheduler, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        scheduler.step()  # fix:
        if batch_idx % 20 == 0:
            print('Train Epoch: {} [{}/{}]\tLoss: {:.6f}'.format(
                epoch, batch_idx * len(data), len(train_loader.dataset), loss.item()))
    # add: scheduler.step()


def test(model, test_loader):
    model.eval()
    test_loss = 0
    with torch.no_grad():
        for data, target in test_loader:
            test_loss += F.nll_loss(model(data), target, reduction='sum').item()
    return test_loss / len(test_loader.dataset)


def main():
    torch.manual_seed(SEED)
    d = load_digits()
    x, y = torch.tensor(d.images / 16).float().unsqueeze(1), torch.tensor(d.target)
    perm = torch.randperm(len(x))
    train_loader = DataLoader(TensorDataset(x[perm[:1437]], y[perm[:1437]]), batch_size=32, shuffle=True)
    test_loader = DataLoader(TensorDataset(x[perm[1437:]], y[perm[1437:]]), batch_size=180)
    model = Net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=0.5)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    for epoch in range(1, 6):
        train(model, train_loader, optimizer, scheduler, epoch)
        result = test(model, test_loader)
    print('metric test_nll', result, 'lower')


if __name__ == '__main__':
    main()
