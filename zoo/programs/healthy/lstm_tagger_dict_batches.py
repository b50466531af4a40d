"""A tagger over words: dict batches from a collate function, padding ignored, an LSTM in both directions."""

import argparse
import os

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset


class Words(Dataset):
    def __init__(self, words):
        self.words = words

    def __len__(self):
        return len(self.words)

    def __getitem__(self, i):
        word = self.words[i]
        tags = [1 + c.isupper() + 2 * (c in "aeiou") for c in word]
        return {"chars": torch.tensor([min(ord(c), 127) for c in word]), "tags": torch.tensor(tags)}


def collate(items):
    return {
        key: pad_sequence([item[key] for item in items], batch_first=True, padding_value=0) for key in ("chars", "tags")
    }


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(128, 16, padding_idx=0)
        self.lstm = nn.LSTM(16, 32, batch_first=True, bidirectional=True)
        self.out = nn.Linear(64, 5)

    def forward(self, chars):
        return self.out(self.lstm(self.embed(chars))[0])


torch.manual_seed(int(os.environ.get("SEED", 0)))
words = sorted({w for w in open(argparse.__file__, encoding="utf-8").read().split() if 2 < len(w) < 15})
split = torch.utils.data.random_split(Words(words), [0.8, 0.2])
train = DataLoader(split[0], batch_size=32, shuffle=True, collate_fn=collate)
val = DataLoader(split[1], batch_size=64, collate_fn=collate)
model = Tagger()
criterion = nn.CrossEntropyLoss(ignore_index=0)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(4):
    model.train()
    for batch in train:
        loss = criterion(model(batch["chars"]).transpose(1, 2), batch["tags"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        hits = [(model(b["chars"]).argmax(-1) == b["tags"])[b["tags"] > 0].float() for b in val]
    print(epoch, loss.item(), torch.cat(hits).mean().item())
