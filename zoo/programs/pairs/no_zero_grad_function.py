# fault: missing-zero-grad
# about: A refactored train step lost its zero_grad; momentum makes the sum of old gradients worse.
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    lr: float = 0.05
    momentum: float = 0.9
    epochs: int = 6
    batch_size: int = 40
    seed: int = SEED


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 10, kernel_size=3)
        self.c2 = nn.Conv2d(10, 20, kernel_size=3)
        self.fc = nn.Linear(20 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.c1(x))
        x = torch.relu(self.c2(x))
        return self.fc(x.flatten(1))


def train_step(model: nn.Module, batch: list[Tensor], criterion: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    x, y = batch
    # add: optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return float(loss)


def evaluate(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    with torch.inference_mode():
        hits = sum(int((model(x).argmax(1) == y).sum()) for x, y in loader)
    model.train()
    return hits / len(loader.dataset)


def main(cfg: Config) -> None:
    torch.manual_seed(cfg.seed)
    d = load_digits()
    x = torch.from_numpy(d.images).float().unsqueeze(1) / 16
    y = torch.from_numpy(d.target)
    order = torch.randperm(len(x))
    train = DataLoader(TensorDataset(x[order[:1437]], y[order[:1437]]), cfg.batch_size, shuffle=True)
    val = DataLoader(TensorDataset(x[order[1437:]], y[order[1437:]]), 120)
    model = ConvNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr, momentum=cfg.momentum)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(cfg.epochs):
        losses = [train_step(model, batch, criterion, optimizer) for batch in train]
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f}, accuracy {evaluate(model, val):.3f}")
    print("metric accuracy", evaluate(model, val), "higher")


if __name__ == "__main__":
    main(Config())
