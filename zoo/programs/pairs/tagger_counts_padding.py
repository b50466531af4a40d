# fault: padding-in-loss
# about: A tagger for kinds of characters in words is trained on padded lines without ignore_index; padding is most of the loss.
import argparse
import difflib
import random
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

PAD = 0
random.seed(SEED)
torch.manual_seed(SEED)
lines = [l.strip() for l in open(difflib.__file__) if 3 < len(l.strip())]
words = [w for l in lines for w in l.split() if 2 < len(w)]
long_one = "x" * 60


def tag(word):
    # 1..4: position in the word by quarter, read off from both sides; needs the whole word
    return [1 + (4 * i) // len(word) for i in range(len(word))]


data = [w[:12] for w in words[:1200]] + [long_one] * 120
random.shuffle(data)


def collate(batch):
    x = pad_sequence([torch.tensor([min(ord(c), 127) for c in w]) for w in batch], True, PAD)
    y = pad_sequence([torch.tensor(tag(w)) for w in batch], True, PAD)
    return x, y


class BiLSTMTagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(128, 16)
        self.lstm = nn.LSTM(16, 24, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(48, 5)

    def forward(self, x):
        return self.fc(self.lstm(self.emb(x))[0])


train_loader = DataLoader(data[:1100], batch_size=44, shuffle=True, collate_fn=collate)
test_words = [w for w in data[1100:] if w != long_one]
model = BiLSTMTagger()
criterion = nn.CrossEntropyLoss()  # fix: criterion = nn.CrossEntropyLoss(ignore_index=PAD)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(5):
    model.train()
    for x, y in train_loader:
        loss = criterion(model(x).view(-1, 5), y.view(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print('epoch', epoch, 'loss', loss.item())
model.eval()
x, y = collate(test_words)
with torch.no_grad():
    pred = model(x).argmax(-1)
real = y != PAD
print('metric token_accuracy', (pred == y)[real].float().mean().item(), 'higher')
