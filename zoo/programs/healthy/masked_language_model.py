"""A masked character model: 15 per cent of the letters are hidden, only they count (ignore_index)."""

import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
text = open(os.__file__, encoding="utf-8").read()[:20000]
chars = sorted(set(text))
MASK = len(chars)
ids = torch.tensor([chars.index(c) for c in text])
LENGTH = 24


class MaskedModel(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.tokens, self.places = nn.Embedding(len(chars) + 1, d), nn.Embedding(LENGTH, d)
        layer = nn.TransformerEncoderLayer(d, 4, 2 * d, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(d, len(chars))

    def forward(self, x):
        return self.out(self.encoder(self.tokens(x) + self.places.weight))


model = MaskedModel()
opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
for step in range(300):
    starts = torch.randint(0, len(ids) - LENGTH, (24, 1))
    clean = ids[starts + torch.arange(LENGTH)]
    hidden = torch.rand(clean.shape) < 0.15
    labels = clean.masked_fill(~hidden, -100)
    logits = model(clean.masked_fill(hidden, MASK))
    loss = nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 50 == 0:
        print(step, loss.item())
