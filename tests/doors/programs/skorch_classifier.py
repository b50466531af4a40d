# needs: skorch
"""skorch: a module inside of scikit-learn's fit and score, with skorch's own validation split."""

import os

import numpy as np
import torch
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", 0)))
np.random.seed(int(os.environ.get("SEED", 0)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        # plant softmax-before-cross-entropy: return self.head(self.body(x)).softmax(dim=1)
        return self.head(self.body(x))


X, y = load_digits(return_X_y=True)
order = np.random.permutation(len(y))
X = ((X - X.mean()) / X.std()).astype(np.float32)[order]
# plant labels-unrelated-to-inputs: y = np.random.permutation(y)
y = y[order]
net = NeuralNetClassifier(
    Net, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, max_epochs=10, batch_size=32,
    iterator_train__shuffle=True, verbose=0,
    # plant learning-rate-too-high: lr=1.0,
    lr=2e-3,
)  # fmt: skip
net.fit(X[:1400], y[:1400])
print("accuracy", net.score(X[1400:], y[1400:]))
