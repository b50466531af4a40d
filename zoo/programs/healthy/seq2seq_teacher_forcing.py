"""Sequence to sequence with teacher forcing: reverse a string of digits; padding is ignored in the loss."""

import os
import random

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

seed = int(os.environ.get("SEED", 0))
random.seed(seed)
torch.manual_seed(seed)
PAD, BOS, EOS = 0, 1, 2


def batch(n=32):
    words = [[random.randint(3, 12) for _ in range(random.randint(3, 6))] for _ in range(n)]
    source = pad_sequence([torch.tensor(w) for w in words], batch_first=True)
    target = pad_sequence([torch.tensor([BOS, *w[::-1], EOS]) for w in words], batch_first=True)
    return source, target


class Seq2Seq(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.embed = nn.Embedding(13, 24, padding_idx=PAD)
        self.encoder = nn.GRU(24, d, batch_first=True)
        self.decoder = nn.GRU(24, d, batch_first=True)
        self.query = nn.Linear(d, d)
        self.out = nn.Linear(2 * d, 13)

    def forward(self, source, given):
        memory, state = self.encoder(self.embed(source))
        states, _ = self.decoder(self.embed(given), state)
        scores = self.query(states) @ memory.transpose(1, 2)
        scores = scores.masked_fill((source == PAD)[:, None], -1e9)
        context = scores.softmax(-1) @ memory
        return self.out(torch.cat([states, context], -1))


model = Seq2Seq()
opt = torch.optim.Adam(model.parameters(), lr=4e-3)
criterion = nn.CrossEntropyLoss(ignore_index=PAD)
for step in range(300):
    source, target = batch()
    logits = model(source, target[:, :-1])
    loss = criterion(logits.flatten(0, 1), target[:, 1:].flatten())
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    if step % 50 == 49:
        right = (logits.argmax(-1) == target[:, 1:])[target[:, 1:] != PAD].float().mean()
        print(f"step {step + 1} loss {loss.item():.3f} letters right {right:.2f}")
