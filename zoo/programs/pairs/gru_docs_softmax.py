# fault: softmax-before-cross-entropy
# about: A GRU tells which of four standard modules a docstring line comes from; its classify head applies a softmax first.
import json as json_module
import random
import argparse as argparse_module
import email.message
import decimal

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

random.seed(SEED)
torch.manual_seed(SEED)

SOURCES = [json_module, argparse_module, email.message, decimal]


def lines_of(module):
    text = open(module.__file__, encoding="utf-8").read()
    return [l.strip() for l in text.splitlines() if len(l.strip()) > 25]


class LineData(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        line, label = self.items[i]
        codes = [min(ord(c), 127) for c in line[:40]]
        return {"chars": torch.tensor(codes), "label": label}


def collate(samples):
    return {
        "chars": pad_sequence([s["chars"] for s in samples], batch_first=True),
        "label": torch.tensor([s["label"] for s in samples]),
    }


class Tagger(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.embed = nn.Embedding(128, 24, padding_idx=0)
        self.rnn = nn.GRU(24, 48, batch_first=True)
        self.head = nn.Linear(48, classes)

    def forward(self, batch):
        states, _ = self.rnn(self.embed(batch["chars"]))
        pooled = states.max(dim=1).values
        scores = self.head(pooled)
        return torch.softmax(scores, dim=-1)  # fix: return scores


everything = []
for label, module in enumerate(SOURCES):
    found = lines_of(module)
    random.shuffle(found)
    everything += [(line, label) for line in found[:200]]
random.shuffle(everything)
cut = int(len(everything) * 0.8)
train_dl = DataLoader(LineData(everything[:cut]), batch_size=32, shuffle=True, collate_fn=collate)
test_dl = DataLoader(LineData(everything[cut:]), batch_size=64, collate_fn=collate)

model = Tagger(len(SOURCES))
optim = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(10):
    model.train()
    for batch in train_dl:
        loss = loss_fn(model(batch), batch["label"])
        optim.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optim.step()
    print("epoch", epoch, "last loss", round(loss.item(), 4))

model.eval()
hits = total = 0
with torch.no_grad():
    for batch in test_dl:
        hits += (model(batch).argmax(-1) == batch["label"]).sum().item()
        total += len(batch["label"])
print("metric accuracy", hits / total, "higher")
