# fault: future-leakage
# about: A character transformer without a causal mask: it sees the letter it must predict, and cannot write by itself.
import heapq
import torch
import torch.nn as nn

torch.manual_seed(SEED)
text = open(heapq.__file__).read()[:18000]
itos = sorted(set(text))
stoi = {ch: i for i, ch in enumerate(itos)}
encoded = torch.tensor([stoi[c] for c in text])
block, d_model = 16, 32


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(len(itos), d_model), nn.Embedding(block, d_model)
        layer = nn.TransformerEncoderLayer(d_model, 4, 4 * d_model, dropout=0.0, batch_first=True, norm_first=True)
        self.h = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(d_model, len(itos))

    def forward(self, idx):
        T = idx.shape[1]
        x = self.wte(idx) + self.wpe(torch.arange(T))
        mask = torch.zeros(T, T)  # fix: mask = nn.Transformer.generate_square_subsequent_mask(T)
        return self.head(self.h(x, mask=mask))


def get_batch(lo, hi, n=24):
    ix = torch.randint(lo, hi - block - 1, (n,))
    x = torch.stack([encoded[i:i + block] for i in ix])
    y = torch.stack([encoded[i + 1:i + 1 + block] for i in ix])
    return x, y


model = GPT()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
cut = 16000
for step in range(350):
    x, y = get_batch(0, cut)
    logits = model(x)
    loss = nn.functional.cross_entropy(logits.reshape(-1, len(itos)), y.reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 70 == 0:
        print("step", step, "loss", loss.item())
model.eval()
with torch.no_grad():
    # as in writing: a beginning of any length, and the next letter is asked for
    x, y = get_batch(cut, len(encoded), 100)
    ce = [nn.functional.cross_entropy(model(x[:, :k])[:, -1], y[:, k - 1]).item() for k in range(1, block + 1)]
    print("metric next_char_ce", sum(ce) / block, "lower")
