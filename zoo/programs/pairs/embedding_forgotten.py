# fault: parameters-not-in-optimizer
# about: Parameter groups name the recurrent part and the output, but forget the embedding.
import random
import torch
from torch import nn

torch.manual_seed(SEED)
random.seed(SEED)
letters = "abcdefghijklmnopqrstuvwxyz"
# a word is 'good' when its letters of the first half of the alphabet outnumber the others
words = ["".join(random.choice(letters) for _ in range(9)) for _ in range(1500)]
order = list(letters); random.shuffle(order)
good = set(order[:13])
x = torch.tensor([[letters.index(c) for c in w] for w in words])
y = torch.tensor([float(sum(c in good for c in w) > 4) for w in words])


class WordModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(26, 2)
        self.rnn = nn.GRU(2, 16, batch_first=True)
        self.out = nn.Linear(16, 1)

    def forward(self, ids):
        _, h = self.rnn(self.embedding(ids))
        return self.out(h[-1]).squeeze(-1)


model = WordModel()
optimizer = torch.optim.Adam([
    # add: {"params": model.embedding.parameters(), "lr": 1e-2},
    {"params": model.rnn.parameters(), "lr": 5e-3},
    {"params": model.out.parameters(), "lr": 1e-2},
])
loss_fn = nn.BCEWithLogitsLoss()
for epoch in range(12):
    for idx in torch.randperm(1200).split(50):
        loss = loss_fn(model(x[idx]), y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch} loss {loss.item():.4f}")
with torch.no_grad():
    print("metric val_loss", loss_fn(model(x[1200:]), y[1200:]).item(), "lower")
