# fault: softmax-before-cross-entropy
# about: A tiny decoder turns its scores into probabilities for sampling, and the same probabilities go into F.cross_entropy.
import this
import codecs
import torch
import torch.nn as nn
from torch.nn import functional as F

torch.manual_seed(SEED)
# hyperparameters
batch_size, block_size, n_embd, n_head, max_iters, learning_rate = 16, 24, 32, 4, 220, 3e-3

text = open(codecs.__file__).read()[:20000]
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
data = torch.tensor([stoi[c] for c in text])
n = int(0.9 * len(data))
train_data, val_data = data[:n], data[n:]


def get_batch(split):
    d = train_data if split == 'train' else val_data
    ix = torch.randint(len(d) - block_size, (batch_size,))
    return torch.stack([d[i:i + block_size] for i in ix]), torch.stack([d[i + 1:i + block_size + 1] for i in ix])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.sa = nn.MultiheadAttention(n_embd, n_head, batch_first=True)
        self.ffwd = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd))

    def forward(self, x):
        h = self.ln1(x)
        mask = torch.triu(torch.ones(x.size(1), x.size(1), dtype=torch.bool), 1)
        x = x + self.sa(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.ffwd(self.ln2(x))


class LanguageModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(len(chars), n_embd)
        self.pos = nn.Embedding(block_size, n_embd)
        self.blocks = nn.Sequential(Block(), Block())
        self.lm_head = nn.Linear(n_embd, len(chars))

    def forward(self, idx, targets=None):
        x = self.tok(idx) + self.pos(torch.arange(idx.size(1)))
        logits = self.lm_head(self.blocks(x))
        probs = F.softmax(logits, dim=-1)
        loss = None
        if targets is not None:
            loss = F.cross_entropy(probs.flatten(0, 1), targets.flatten())  # fix: loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return probs, loss


model = LanguageModel()
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
for it in range(max_iters):
    xb, yb = get_batch('train')
    probs, loss = model(xb, yb)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if it % 50 == 0:
        print(f"step {it}: train loss {loss.item():.4f}")

with torch.no_grad():
    nll = 0.0
    for _ in range(20):
        xb, yb = get_batch('val')
        probs, _ = model(xb)
        nll -= probs.gather(-1, yb.unsqueeze(-1)).clamp_min(1e-9).log().mean().item() / 20
print('metric nll', nll, 'lower')
