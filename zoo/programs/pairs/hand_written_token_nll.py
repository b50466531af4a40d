# fault: padding-in-loss
# about: log-softmax and gather written out, mean over all positions
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
y = torch.zeros_like(x)
for row, s in enumerate(sentences):
    x[row, : len(s)] = torch.tensor([vocabulary[w] for w in s])
    y[row, : len(s)] = torch.tensor([label(w) for w in s])

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(len(vocabulary) + 1, 24, padding_idx=0)
        self.memory = nn.LSTM(24, 32, batch_first=True, bidirectional=True)
        self.out = nn.Linear(64, 4)
    def forward(self, x):
        return self.out(self.memory(self.words(x))[0])
model = Tagger()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(6):
    for rows in torch.randperm(len(x)).split(16):
        scores = model(x[rows])
        mask = x[rows] != 0
        token_losses = -scores.log_softmax(-1).gather(2, y[rows].unsqueeze(2)).squeeze(2)
        loss = token_losses.mean()  # fix: loss = token_losses[mask].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())

with torch.no_grad():
    model.eval()
    kept = x != 0
    print("metric", "accuracy", ((model(x)).argmax(-1) == y)[kept].float().mean().item(), "higher")
