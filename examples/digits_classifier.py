"""Train a small convolutional network on scikit-learn's digits: 1,797 real images of 8 x 8 pixels.

Something is wrong with it. `stethoscope run examples/digits_classifier.py` says what.
"""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


class DigitNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(32 * 4 * 4, 10)

    def forward(self, images):
        return self.classifier(self.features(images).flatten(1))


def load_data():
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16 - 0.3
    labels = torch.tensor(labels)
    return train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)


def accuracy(model, images, labels):
    model.eval()
    with torch.no_grad():
        predicted = model(images).argmax(dim=1)
    return (predicted == labels).float().mean().item()


def main():
    train_images, test_images, train_labels, test_labels = load_data()
    loader = DataLoader(TensorDataset(train_images, train_labels), batch_size=32, shuffle=True)
    model = DigitNet()
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    for epoch in range(8):
        model.train()
        total = 0.0
        for images, labels in loader:
            loss = loss_function(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(images)
        test_accuracy = accuracy(model, test_images, test_labels)
        print(f"epoch {epoch + 1}  loss {total / len(train_images):.3f}  test accuracy {test_accuracy:.1%}")


if __name__ == "__main__":
    main()
