# fault: loss-unfit-for-task, wrong-softmax-dim
# about: One output unit for two classes goes into CrossEntropyLoss with float targets: softmax over one score is always 1.
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes

torch.manual_seed(SEED)
np.random.seed(SEED)

X, target = load_diabetes(return_X_y=True)
X = X / X.std(0)
high = (target > np.median(target)).astype(np.float32)[:, None]
order = np.random.permutation(len(X))
train, test = order[:330], order[330:]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(10, 32)
        self.act = nn.ReLU()
        self.fc2 = nn.Linear(32, 1)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


def fit(model, epochs=40, batch=22):
    crit = nn.CrossEntropyLoss()  # fix: crit = nn.BCEWithLogitsLoss()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for ep in range(epochs):
        np.random.shuffle(train)
        for s in range(0, len(train), batch):
            rows = train[s:s + batch]
            xb = torch.tensor(X[rows], dtype=torch.float32)
            yb = torch.tensor(high[rows])
            loss = crit(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        if (ep + 1) % 10 == 0:
            print('Epoch {} Loss {}'.format(ep + 1, loss.item()))


model = Model()
fit(model)
with torch.no_grad():
    guess = model(torch.tensor(X[test], dtype=torch.float32)) > 0
print('metric accuracy', (guess.numpy() == high[test]).mean(), 'higher')
