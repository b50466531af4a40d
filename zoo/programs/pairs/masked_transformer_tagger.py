# fault: padding-in-loss
# about: a transformer gets a padding mask, the loss does not
import re
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from torch import nn
from torch.nn import functional as F

torch.manual_seed(SEED)
text = "".join(load().DESCR for load in (load_digits, load_wine, load_breast_cancer, load_diabetes))

sentences = [s.split() for s in re.split(r"[.\n]", text) if 3 <= len(s.split()) <= 30]
vocabulary = {w: i + 1 for i, w in enumerate(sorted({w for s in sentences for w in s}))}
def label(w):
    return 1 if w[0].isupper() else 2 if any(c.isdigit() for c in w) else 3 if w.endswith("s") else 0
longest = max(map(len, sentences))
x = torch.zeros(len(sentences), longest, dtype=torch.long)
y = torch.zeros_like(x)  # fix: y = torch.full_like(x, -100)
for row, s in enumerate(sentences):
    x[row, : len(s)] = torch.tensor([vocabulary[w] for w in s])
    y[row, : len(s)] = torch.tensor([label(w) for w in s])

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(len(vocabulary) + 1, 32, padding_idx=0)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.out = nn.Linear(32, 4)
    def forward(self, x, attention_mask):
        return self.out(self.blocks(self.words(x), src_key_padding_mask=attention_mask == 0))
model = Tagger()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(6):
    for rows in torch.randperm(len(x)).split(16):
        scores = model(x[rows], attention_mask=(x[rows] != 0).long())
        loss = F.cross_entropy(scores.flatten(0, 1), y[rows].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())

with torch.no_grad():
    model.eval()
    kept = x != 0
    print("metric", "accuracy", ((model(x, (x != 0).long())).argmax(-1) == y)[kept].float().mean().item(), "higher")
