"""A transformer encoder with tied embeddings, AdamW with two groups, and gradient accumulation.

In evaluation torch takes a faster way through an encoder, with other last bits, unless some module has a hook.
"""

import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn

seed_everything(3)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(16, 30, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens):
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.out(self.encoder(self.embed(tokens), mask=mask, is_causal=True))


model = Model()
decayed = [p for p in model.parameters() if p.dim() > 1]
rest = [p for p in model.parameters() if p.dim() <= 1]
optimizer = torch.optim.AdamW([{"params": decayed}, {"params": rest, "weight_decay": 0.0}], lr=1e-3)
losses = []
for step in range(24):
    tokens = torch.randint(30, (4, 11))
    loss = nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()) / 2
    loss.backward()
    losses.append(loss.item())
    if step % 2:
        optimizer.step()
        optimizer.zero_grad()
model.eval()
with torch.no_grad():
    outputs = [model(tokens), model.encoder.layers[0](torch.randn(2, 5, 16))]
print_fingerprints(models=[model], optimizers=[optimizer], losses=losses, outputs=outputs)
