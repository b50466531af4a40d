"""Warm-up, then linear decay, one scheduler step a batch; AdamW with two groups; a transformer on digits."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main():
    torch.manual_seed(int(os.environ.get("SEED", 0)))
    rows = torch.tensor(load_digits().images / 16, dtype=torch.float32)  # (1797, 8 rows, 8 pixels)
    labels = torch.tensor(load_digits().target)
    perm = torch.randperm(len(rows))
    train = DataLoader(TensorDataset(rows[perm[:1400]], labels[perm[:1400]]), batch_size=32, shuffle=True)
    val = DataLoader(TensorDataset(rows[perm[1400:]], labels[perm[1400:]]), batch_size=100)

    model = RowTransformer()
    decay = [p for p in model.parameters() if p.dim() >= 2]
    no_decay = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": no_decay, "weight_decay": 0.0}], lr=2e-3
    )
    total, warmup = 6 * len(train), 30
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, (total - step) / (total - warmup)))
    )
    for epoch in range(6):
        train_loss = train_epoch(model, train, optimizer, schedule)
        print(f"epoch {epoch} train {train_loss:.4f} val accuracy {evaluate(model, val):.4f}")


class RowTransformer(nn.Module):
    """Reads a picture as a sequence of its rows."""

    def __init__(self, dim=32):
        super().__init__()
        self.embed = nn.Linear(8, dim)
        self.position = nn.Parameter(0.02 * torch.randn(8, dim))
        layer = nn.TransformerEncoderLayer(dim, nhead=4, dim_feedforward=64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.classify = nn.Linear(dim, 10)

    def forward(self, rows):
        return self.classify(self.encoder(self.embed(rows) + self.position).mean(dim=1))


def train_epoch(model, loader, optimizer, schedule):
    model.train()
    total = 0.0
    for rows, labels in loader:
        loss = nn.functional.cross_entropy(model(rows), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        total += loss.item()
    return total / len(loader)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    return sum((model(rows).argmax(1) == labels).sum().item() for rows, labels in loader) / len(loader.dataset)


if __name__ == "__main__":
    main()
