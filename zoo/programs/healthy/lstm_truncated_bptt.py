"""An LSTM language model that reads a text in order and carries its state from batch to batch, detached."""

import os
import pydoc

import torch
import torch.nn as nn

torch.manual_seed(int(os.environ.get("SEED", 0)))

corpus = pydoc.plain(pydoc.render_doc(str) + pydoc.render_doc(bytes))
vocab = {c: i for i, c in enumerate(sorted(set(corpus)))}
ids = torch.tensor([vocab[c] for c in corpus])


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    return data[: nbatch * bsz].view(bsz, -1).t().contiguous()


split = int(len(ids) * 0.85)
train_data, val_data = batchify(ids[:split], 16), batchify(ids[split:], 8)
bptt = 32


class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp=48, nhid=96):
        super().__init__()
        self.drop = nn.Dropout(0.1)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid)
        self.decoder = nn.Linear(nhid, ntoken)
        self.nhid = nhid

    def forward(self, input, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(input)), hidden)
        return self.decoder(self.drop(output)), hidden

    def init_hidden(self, bsz):
        return torch.zeros(1, bsz, self.nhid), torch.zeros(1, bsz, self.nhid)


def get_batch(source, i):
    seq_len = min(bptt, len(source) - 1 - i)
    return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].view(-1)


model = RNNModel(len(vocab))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)

for epoch in range(3):
    model.train()
    hidden = model.init_hidden(16)
    for i in range(0, train_data.size(0) - 1, bptt):
        inputs, targets = get_batch(train_data, i)
        hidden = tuple(h.detach() for h in hidden)
        model.zero_grad()
        output, hidden = model(inputs, hidden)
        loss = criterion(output.view(-1, len(vocab)), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    model.eval()
    total = 0.0
    hidden = model.init_hidden(8)
    with torch.no_grad():
        for i in range(0, val_data.size(0) - 1, bptt):
            inputs, targets = get_batch(val_data, i)
            output, hidden = model(inputs, hidden)
            total += len(inputs) * criterion(output.view(-1, len(vocab)), targets).item()
    print(f"| epoch {epoch} | last batch {loss.item():.3f} | valid {total / (len(val_data) - 1):.3f} |")
