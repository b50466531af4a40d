# fault: sigmoid-before-bce-with-logits
# about: Six yes-or-no properties of a digit at once, predicted through a sigmoid into binary_cross_entropy_with_logits.
import torch, numpy as np
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(SEED); np.random.seed(SEED)
X, y = load_digits(return_X_y=True)
X = (X / 16.0).astype(np.float32)
props = np.stack([y % 2 == 0, y > 4, y % 3 == 0, np.isin(y, [0, 6, 8, 9]), np.isin(y, [1, 4, 7]), y < 2], 1).astype(np.float32)
p = np.random.permutation(len(X)); tr, te = p[:1400], p[1400:]
Xtr, Ytr, Xte, Yte = map(torch.from_numpy, (X[tr], props[tr], X[te], props[te]))

W1 = torch.nn.Linear(64, 64); W2 = torch.nn.Linear(64, 6)
params = list(W1.parameters()) + list(W2.parameters())
def predict(x):
    h = torch.tanh(W1(x))
    return torch.sigmoid(W2(h))  # fix: return W2(h)

optimizer = torch.optim.RMSprop(params, lr=1e-3)
for epoch in range(10):
    for idx in torch.randperm(1400).split(40):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(predict(Xtr[idx]), Ytr[idx])
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
with torch.no_grad():
    print('metric bce', F.binary_cross_entropy_with_logits(predict(Xte), Yte).item(), 'lower')
