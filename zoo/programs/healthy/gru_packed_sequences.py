"""A GRU on sequences of many lengths, packed: does a walk drift, or does it return to where it began?"""

import os

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(int(os.environ.get("SEED", 0)))


class Walks(Dataset):
    def __init__(self, count):
        self.items = []
        for _ in range(count):
            label = int(torch.randint(2, ()))
            length = int(torch.randint(10, 40, ()))
            steps = 0.3 * torch.randn(length)
            walk, position = [], torch.zeros(())
            for noise in steps:
                position = (position if label else 0.4 * position) + noise
                walk.append(position)
            self.items.append((torch.stack(walk).unsqueeze(1), label))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def collate(batch):
    walks, labels = zip(*batch, strict=True)
    lengths = torch.tensor([len(walk) for walk in walks])
    return pad_sequence(walks, batch_first=True), lengths, torch.tensor(labels)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, 24, batch_first=True)
        self.fc = nn.Linear(24, 2)

    def forward(self, walks, lengths):
        packed = pack_padded_sequence(walks, lengths, batch_first=True, enforce_sorted=False)
        _, hidden = self.gru(packed)
        return self.fc(hidden[-1])


train_loader = DataLoader(Walks(800), batch_size=32, shuffle=True, collate_fn=collate)
val_loader = DataLoader(Walks(200), batch_size=100, collate_fn=collate)
model = Classifier()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(8):
    model.train()
    for walks, lengths, labels in train_loader:
        optimizer.zero_grad()
        loss = loss_fn(model(walks, lengths), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    hits = 0
    with torch.no_grad():
        for walks, lengths, labels in val_loader:
            hits += int((model(walks, lengths).argmax(1) == labels).sum())
    print(f"epoch {epoch} loss {loss.item():.3f} val accuracy {hits / 200:.2f}")
