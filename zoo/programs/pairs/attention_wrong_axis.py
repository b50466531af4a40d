# fault: wrong-softmax-dim
# about: A hand-written attention normalises over the queries, so the pooled summary of a row-by-row digit means little.
import math
import torch
from torch import nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)


class SelfAttention(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, x):
        att = self.q(x) @ self.k(x).transpose(1, 2) / math.sqrt(x.shape[-1])
        att = att.softmax(dim=0)  # fix: att = att.softmax(dim=-1)
        return att @ self.v(x)


class RowModel(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.inp = nn.Linear(8, d)
        self.pos = nn.Parameter(torch.randn(8, d) * 0.1)
        self.att1, self.att2 = SelfAttention(d), SelfAttention(d)
        self.norm = nn.LayerNorm(d)
        self.cls = nn.Linear(d, 10)

    def forward(self, x):
        h = self.inp(x) + self.pos
        h = self.att1(h)
        h = torch.relu(h)
        h = self.norm(self.att2(h)) 
        return self.cls(h.mean(1))


d = load_digits()
x = torch.tensor(d.images, dtype=torch.float32) / 8 - 1
y = torch.tensor(d.target)
perm = torch.randperm(len(x)); x, y = x[perm], y[perm]
model = RowModel()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(10):
    for i in range(0, 1400, 35):
        j = torch.randint(0, 1400, (35,))
        out = model(x[j])
        loss = nn.functional.cross_entropy(out, y[j])
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    print(epoch, "%.3f" % loss.item())
model.eval()
with torch.no_grad():
    acc = torch.cat([model(c).argmax(1) for c in x[1400:].split(4)]).eq(y[1400:]).float().mean()
print("metric accuracy", acc.item(), "higher")
