# fault: learning-rate-too-high
# about: A character transformer is trained by Adam with 0.3 and ends at the frequencies of the letters.
import textwrap
import torch
from torch import nn

torch.manual_seed(SEED)
corpus = open(textwrap.__file__).read()[:16000]
vocab = sorted(set(corpus)); lookup = {c: i for i, c in enumerate(vocab)}
ids = torch.tensor([lookup[c] for c in corpus])
CTX, D = 20, 32


class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.te, self.pe = nn.Embedding(len(vocab), D), nn.Embedding(CTX, D)
        enc = nn.TransformerEncoderLayer(D, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.tr = nn.TransformerEncoder(enc, 2, enable_nested_tensor=False)
        self.lm = nn.Linear(D, len(vocab))

    def forward(self, t):
        causal = nn.Transformer.generate_square_subsequent_mask(t.shape[1])
        return self.lm(self.tr(self.te(t) + self.pe.weight[: t.shape[1]], mask=causal, is_causal=True))


def batch(lo, hi, n=16):
    s = torch.randint(lo, hi - CTX - 1, (n, 1)) + torch.arange(CTX + 1)
    return ids[s][:, :-1], ids[s][:, 1:]


lm = LM()
opt = torch.optim.Adam(lm.parameters(), lr=0.3)  # fix: opt = torch.optim.Adam(lm.parameters(), lr=3e-3)
cut = int(.9 * len(ids))
for it in range(350):
    xb, yb = batch(0, cut)
    loss = nn.functional.cross_entropy(lm(xb).transpose(1, 2), yb)
    opt.zero_grad(); loss.backward(); opt.step()
    if it % 70 == 0: print(it, loss.item())
lm.eval()
with torch.no_grad():
    ce = sum(nn.functional.cross_entropy(lm(x).transpose(1, 2), y).item() for x, y in [batch(cut, len(ids)) for _ in range(10)]) / 10
print("metric val_ce", ce, "lower")
