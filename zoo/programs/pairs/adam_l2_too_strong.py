# fault: weight-decay-too-strong
# about: AdamW for a small transformer encoder with weight_decay=20 after a typing error.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
hp = dict(lr=2e-3, wd=20.0, dim=32, heads=4, epochs=6, bs=50)  # fix: hp = dict(lr=2e-3, wd=0.01, dim=32, heads=4, epochs=6, bs=50)


class RowTransformer(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.inp = nn.Linear(8, dim)
        self.pos = nn.Parameter(0.02 * torch.randn(1, 8, dim))
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(dim, 10)

    def forward(self, x):
        return self.out(self.enc(self.inp(x) + self.pos).mean(1))


d = load_digits()
x = torch.tensor(d.images, dtype=torch.float32) / 8 - 1
y = torch.tensor(d.target)
perm = torch.randperm(len(x))
net = RowTransformer(hp["dim"], hp["heads"])
opt = torch.optim.AdamW(net.parameters(), lr=hp["lr"], weight_decay=hp["wd"])
for epoch in range(hp["epochs"]):
    for b in perm[:1400][torch.randperm(1400)].split(hp["bs"]):
        loss = nn.functional.cross_entropy(net(x[b]), y[b])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print({"epoch": epoch, "loss": round(loss.item(), 4)})
net.eval()
with torch.no_grad():
    print("metric accuracy", (net(x[perm[1400:]]).argmax(-1) == y[perm[1400:]]).float().mean().item(), "higher")
