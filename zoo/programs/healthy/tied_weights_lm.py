"""A word model whose output layer shares its weights with the embedding."""

import math
import os
import pydoc
import re

import torch
import torch.nn as nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
words = re.findall(r"\w+|[^\w\s]", pydoc.plain(pydoc.render_doc(str) + pydoc.render_doc(list)).lower())
common = ["<unk>"] + sorted({w for w in words if words.count(w) > 3})
index = {w: i for i, w in enumerate(common)}
tokens = torch.tensor([index.get(w, 0) for w in words])
context = 4
X = tokens.unfold(0, context + 1, 1)
X, Y = X[:, :context], X[:, context]
order = torch.randperm(len(X))
train, val = order[: int(0.8 * len(X))], order[int(0.8 * len(X)) :]


class TiedLM(nn.Module):
    def __init__(self, vocab, dim=32):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        nn.init.normal_(self.embed.weight, std=1 / math.sqrt(dim))
        self.mix = nn.Linear(context * dim, dim)
        self.out = nn.Linear(dim, vocab)
        self.out.weight = self.embed.weight

    def forward(self, idx):
        return self.out(torch.tanh(self.mix(self.embed(idx).flatten(1))))


lm = TiedLM(len(common))
opt = torch.optim.Adam(lm.parameters(), lr=3e-3)
print(f"{len(X)} windows, {len(common)} words, uniform {math.log(len(common)):.2f}")
for epoch in range(3):
    lm.train()
    for batch in train[torch.randperm(len(train))].split(64):
        loss = nn.functional.cross_entropy(lm(X[batch]), Y[batch])
        opt.zero_grad()
        loss.backward()
        opt.step()
    lm.eval()
    with torch.no_grad():
        print(epoch, loss.item(), nn.functional.cross_entropy(lm(X[val]), Y[val]).item())
