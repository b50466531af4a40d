"""Saves, copies and pickles the model and its optimizer while it trains, and traces it afterwards."""

import copy
import hashlib
import io
import pickle

import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 1)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)) + torch.relu(self.a(x.flip(1))))


seed_everything(12)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
losses, copies = [], []
for step in range(20):
    x = torch.randn(5, 4)
    loss = nn.functional.l1_loss(model(x), x[:, :1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if step % 6 == 0:
        copies.append(copy.deepcopy(model))
        pickled = pickle.loads(pickle.dumps((model, optimizer)))
        print(step, [sorted(vars(thing)) for thing in pickled], pickled[0](x).tolist())
        buffer = io.BytesIO()
        torch.save({"model": model, "optimizer": optimizer}, buffer)
        loaded = torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
        print(loaded["model"](x).tolist(), hashlib.sha256(buffer.getvalue()).hexdigest())
traced = torch.jit.trace(model, x)
print(traced.code, repr(model), dir(model) == dir(copies[0]))
print_fingerprints(models=[model, *copies], optimizers=[optimizer], losses=losses, outputs=[traced(x), x])
