"""A convolutional network with batch normalization and dropout, trained by a small Trainer class."""

import os
from dataclasses import dataclass, field

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

SEED = int(os.environ.get("SEED", 0))


def conv_block(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )


def make_model():
    return nn.Sequential(
        conv_block(1, 16), conv_block(16, 32), nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 2 * 2, 10)
    )


@dataclass
class Trainer:
    model: nn.Module
    optimizer: torch.optim.Optimizer
    criterion: nn.Module = field(default_factory=nn.CrossEntropyLoss)

    def fit(self, train, val, epochs):
        for epoch in range(epochs):
            self.model.train()
            for batch in train:
                self.training_step(*batch)
            loss, accuracy = self.evaluate(val)
            print(f"[{epoch + 1}/{epochs}] val_loss={loss:.4f} val_acc={accuracy:.4f}")

    def training_step(self, images, labels):
        loss = self.criterion(self.model(images), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    @torch.inference_mode()
    def evaluate(self, loader):
        self.model.eval()
        losses, hits, count = 0.0, 0, 0
        for images, labels in loader:
            scores = self.model(images)
            losses += self.criterion(scores, labels).item() * len(labels)
            hits += int((scores.argmax(dim=1) == labels).sum())
            count += len(labels)
        return losses / count, hits / count


def main():
    torch.manual_seed(SEED)
    images, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(images).float().view(-1, 1, 8, 8).div(16).sub(0.3).div(0.37)
    dataset = TensorDataset(images, torch.from_numpy(labels))
    train, val = random_split(dataset, [1437, 360])
    model = make_model()
    trainer = Trainer(model, torch.optim.Adam(model.parameters(), lr=2e-3))
    trainer.fit(DataLoader(train, 64, shuffle=True), DataLoader(val, 120), epochs=6)


if __name__ == "__main__":
    main()
