"""Two heads on one trunk, two losses added up: which digit is it, and how much ink does it have."""

import argparse
import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class TwoHeads(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU())
        self.digit = nn.Linear(hidden, 10)
        self.ink = nn.Linear(hidden, 1)

    def forward(self, x):
        shared = self.trunk(x)
        return self.digit(shared), self.ink(shared).squeeze(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", 0)))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--hidden", type=int, default=64)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    pixels, labels = load_digits(return_X_y=True)
    ink = torch.tensor(pixels.sum(axis=1), dtype=torch.float32)
    data = TensorDataset(
        torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels), (ink - ink.mean()) / ink.std()
    )
    train, val = random_split(data, [0.8, 0.2])
    model = TwoHeads(args.hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    classify, regress = nn.CrossEntropyLoss(), nn.L1Loss()
    for epoch in range(args.epochs):
        model.train()
        for x, digit, ink in DataLoader(train, batch_size=40, shuffle=True):
            digit_scores, ink_guess = model(x)
            loss = classify(digit_scores, digit) + 0.5 * regress(ink_guess, ink)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            scores, guess = model(val[:][0])
            hits = (scores.argmax(1) == val[:][1]).float().mean()
        print(f"epoch {epoch} loss {loss.item():.3f} accuracy {hits:.3f} ink {regress(guess, val[:][2]):.3f}")


if __name__ == "__main__":
    main()
