# fault: padding-in-loss
# about: a language model reads whole lines, its scores and targets are cut to fit, padding counts
import re
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from torch import nn
from torch.nn import functional as F

torch.manual_seed(SEED)
text = "".join(load().DESCR for load in (load_digits, load_wine, load_breast_cancer, load_diabetes))

lines = [l.strip() for l in text.split("\n") if len(l.strip()) > 2]
letters = sorted(set("".join(lines)))
EOS = len(letters)
PAD = len(letters) + 1
longest = 81
rows_of_text = torch.full((len(lines), longest + 1), PAD)
for row, l in enumerate(lines):
    ids = [letters.index(c) for c in l[:longest]] + [EOS]
    rows_of_text[row, : len(ids)] = torch.tensor(ids)
x, y = rows_of_text[:, :-1], rows_of_text[:, 1:]

class Writer(nn.Module):
    def __init__(self):
        super().__init__()
        self.letters = nn.Embedding(len(letters) + 2, 24)
        self.memory = nn.GRU(24, 64, batch_first=True)
        self.out = nn.Linear(64, len(letters) + 2)
    def forward(self, x):
        return self.out(self.memory(self.letters(x))[0])
model = Writer()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()  # fix: criterion = nn.CrossEntropyLoss(ignore_index=PAD)

for epoch in range(6):
    for rows in torch.randperm(len(x)).split(16):
        batch = rows_of_text[rows]
        scores = model(batch)
        loss = criterion(scores[:, :-1].reshape(-1, scores.shape[-1]), batch[:, 1:].reshape(-1))
        
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())

with torch.no_grad():
    model.eval()
    kept = y != PAD
    print("metric", "accuracy", ((model(x)).argmax(-1) == y)[kept].float().mean().item(), "higher")
