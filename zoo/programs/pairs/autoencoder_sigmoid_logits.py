# fault: sigmoid-before-bce-with-logits
# about: An autoencoder squashes its output with Sigmoid and is scored with BCEWithLogitsLoss, so strokes come out grey.
import torch
from sklearn.datasets import load_digits
from torch import nn, optim


class AutoEncoder(nn.Module):
    def __init__(self, code=16):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, code))
        self.dec = nn.Sequential(
            nn.ReLU(), nn.Linear(code, 48), nn.ReLU(), nn.Linear(48, 64),
            nn.Sigmoid(),  # fix:
        )

    def forward(self, x):
        return self.dec(self.enc(x))


def train(model, data, epochs, lr, batch):
    criterion = nn.BCEWithLogitsLoss()
    optimizer = optim.Adam(model.parameters(), lr)
    history = []
    for epoch in range(epochs):
        running = 0.0
        batches = data[torch.randperm(len(data))].split(batch)
        for x in batches:
            optimizer.zero_grad()
            out = model(x)
            loss = criterion(out, x)
            loss.backward()
            optimizer.step()
            running += loss.item()
        history.append(running / len(batches))
        print("epoch {} | reconstruction loss {:.4f}".format(epoch + 1, history[-1]))
    return history


if __name__ == "__main__":
    torch.manual_seed(SEED + 100)
    digits = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    digits = digits[torch.randperm(len(digits))]
    model = AutoEncoder()
    train(model, digits[:1500], epochs=15, lr=2e-3, batch=64)
    with torch.no_grad():
        left = nn.functional.binary_cross_entropy_with_logits(model(digits[1500:]), digits[1500:])
    print("metric reconstruction_bce", left.item(), "lower")
