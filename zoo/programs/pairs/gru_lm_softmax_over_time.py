# fault: wrong-softmax-dim
# about: A GRU language model takes log_softmax over dim 1, which is time here, before NLLLoss.
import random
import shlex
import torch
import torch.nn as nn

torch.manual_seed(SEED)
random.seed(SEED)
source = open(shlex.__file__).read()
alphabet = sorted(set(source))
codes = torch.tensor([alphabet.index(c) for c in source])
SEQ, BATCH = 30, 20


class CharRNN(nn.Module):
    def __init__(self, vocab, hidden=64):
        super().__init__()
        self.emb = nn.Embedding(vocab, 24)
        self.gru = nn.GRU(24, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, x, h=None):
        y, h = self.gru(self.emb(x), h)
        return torch.log_softmax(self.out(y), dim=1), h  # fix: return torch.log_softmax(self.out(y), dim=2), h


def sample(lo, hi):
    starts = [random.randrange(lo, hi - SEQ - 1) for _ in range(BATCH)]
    return torch.stack([codes[s:s + SEQ] for s in starts]), torch.stack([codes[s + 1:s + SEQ + 1] for s in starts])


model = CharRNN(len(alphabet))
criterion = nn.NLLLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
cut = int(len(codes) * 0.9)
for it in range(200):
    x, y = sample(0, cut)
    logp, _ = model(x)
    loss = criterion(logp.reshape(-1, len(alphabet)), y.reshape(-1))
    model.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5)
    optimizer.step()
    if it % 40 == 0:
        print('iter', it, 'loss', loss.item())
with torch.no_grad():
    hits = [(model(x)[0].argmax(-1) == y).float().mean() for x, y in [sample(cut, len(codes)) for _ in range(10)]]
print('metric next_char_accuracy', (sum(hits) / 10).item(), 'higher')
