# fault: nll-without-log-softmax
# about: Names of functions are sorted into modules by a character LSTM whose softmax goes straight into F.nll_loss.
import math, os, random, string as st, statistics
import numpy, torch
import torch.nn as nn
import torch.nn.functional as F

random.seed(SEED)
torch.manual_seed(SEED)
groups = {"torch": [n for n in dir(torch) if n.islower()][:300], "numpy": [n for n in dir(numpy) if n.islower()][:300],
          "os": [n for n in dir(os) if not n.startswith("__")][:300]}
letters = st.ascii_letters + st.digits + "_"
pairs = [(name, k) for k, names in enumerate(groups.values()) for name in names]
random.shuffle(pairs)
split = int(.8 * len(pairs))


def nameToTensor(name, length=14):
    t = torch.zeros(length, len(letters))
    for li, letter in enumerate(name[:length]):
        t[li][letters.find(letter)] = 1
    return t


class NameLSTM(nn.Module):
    def __init__(self, n_hidden, n_out):
        super(NameLSTM, self).__init__()
        self.lstm = nn.LSTM(len(letters), n_hidden)
        self.h2o = nn.Linear(n_hidden, n_out)
        self.softmax = nn.Softmax(dim=1)  # fix: self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, line):
        out, (hidden, cell) = self.lstm(line)
        return self.softmax(self.h2o(out.mean(0)))


def batchify(chunk):
    return torch.stack([nameToTensor(n) for n, _ in chunk], 1), torch.tensor([k for _, k in chunk])


rnn = NameLSTM(48, len(groups))
optimizer = torch.optim.SGD(rnn.parameters(), lr=0.4)
for epoch in range(14):
    random.shuffle(train := pairs[:split])
    total = 0
    for s in range(0, len(train), 20):
        x, category = batchify(train[s:s + 20])
        output = rnn(x)
        loss = F.nll_loss(output, category)
        rnn.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(epoch, total / (len(train) / 20))
x, category = batchify(pairs[split:])
with torch.no_grad():
    good = (rnn(x).argmax(1) == category).float().mean()
print("metric accuracy", good.item(), "higher")
