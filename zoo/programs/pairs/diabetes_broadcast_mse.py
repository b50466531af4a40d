# fault: target-shape-broadcast
# about: Predictions are (N, 1) and targets (N,): MSELoss compares every prediction with every target.
import warnings

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

warnings.filterwarnings("ignore")
torch.manual_seed(SEED)


def get_loaders(batch_size):
    X, y = load_diabetes(return_X_y=True)
    X = torch.tensor(X / X.std(axis=0), dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    train, test = random_split(TensorDataset(X, y), [342, 100])
    return DataLoader(train, batch_size, shuffle=True), DataLoader(test, batch_size)


class NeuralNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear_relu_stack = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.linear_relu_stack(x)


def train_loop(dataloader, model, loss_fn, optimizer):
    for batch, (X, y) in enumerate(dataloader):
        pred = model(X)
        loss = loss_fn(pred, y)  # fix: loss = loss_fn(pred, y.unsqueeze(1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if batch % 10 == 0:
            print(f"loss: {loss.item():>7f}")


def test_loop(dataloader, model):
    err = n = 0
    with torch.no_grad():
        for X, y in dataloader:
            err += ((model(X).squeeze(1) - y) ** 2).sum().item()
            n += len(y)
    return err / n


train_dataloader, test_dataloader = get_loaders(24)
model = NeuralNetwork()
loss_fn = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
for t in range(20):
    print(f"Epoch {t + 1}\n-------------------------------")
    train_loop(train_dataloader, model, loss_fn, optimizer)
print("metric test_mse", test_loop(test_dataloader, model), "lower")
