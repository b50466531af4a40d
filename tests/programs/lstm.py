"""An LSTM over packed sequences, with its state carried on, and one linear layer called at every position."""

import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

seed_everything(4)
rnn = nn.LSTM(5, 12, num_layers=2, dropout=0.3, batch_first=True)
head = nn.Linear(12, 3)
parameters = [*rnn.parameters(), *head.parameters()]
optimizer = torch.optim.RMSprop(parameters, lr=1e-3)
state, losses = None, []
for _ in range(20):
    lengths = torch.randint(3, 9, (6,)).sort(descending=True).values
    packed = pack_padded_sequence(torch.randn(6, int(lengths[0]), 5), lengths, batch_first=True)
    output, state = rnn(packed, state)
    state = tuple(s.detach() for s in state)
    padded, _ = pad_packed_sequence(output, batch_first=True)
    scores = torch.stack([head(padded[:, t]) for t in range(padded.shape[1])], dim=1)
    loss = nn.functional.cross_entropy(scores.flatten(0, 1), torch.randint(3, (scores.shape[0] * scores.shape[1],)))
    rnn.zero_grad()
    head.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print_fingerprints(models=[rnn, head], optimizers=[optimizer], losses=losses, outputs=[state, scores])
