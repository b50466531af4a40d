"""A run cut off after twelve steps of its warm-up, as when somebody tries whether it starts at all."""

import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
text = open(nn.__file__, encoding="utf-8").read()
chars = sorted(set(text))
ids = torch.tensor([chars.index(c) for c in text])
embed, head = nn.Embedding(len(chars), 64), nn.Linear(64, len(chars))
layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True)
body = nn.TransformerEncoder(layer, 2)
parts = nn.ModuleList([embed, body, head])
opt = torch.optim.AdamW(parts.parameters(), lr=5e-4)
warm = torch.optim.lr_scheduler.LinearLR(opt, start_factor=0.01, total_iters=100)
mask = nn.Transformer.generate_square_subsequent_mask(32)
for step in range(12):
    at = torch.randint(0, len(ids) - 33, (8, 1)) + torch.arange(33)
    window = ids[at]
    scores = head(body(embed(window[:, :-1]), mask=mask, is_causal=True))
    loss = nn.functional.cross_entropy(scores.transpose(1, 2), window[:, 1:])
    opt.zero_grad()
    loss.backward()
    opt.step()
    warm.step()
    print(step, loss.item())
