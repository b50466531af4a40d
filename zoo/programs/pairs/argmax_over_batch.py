# fault: metric-wrong, wrong-softmax-dim
# about: Accuracy takes the argmax over dim 0, the batch, so a good network seems to know nothing.
import torch
import torch.nn.functional as F
from torch import nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
xs, ys = load_digits(return_X_y=True)
xs = torch.tensor(xs).float().div(16).view(-1, 1, 8, 8)
ys = torch.tensor(ys)
keep = torch.randperm(len(xs))
xs, ys = xs[keep], ys[keep]


def accuracy(out, yb):
    preds = torch.argmax(out, dim=0)  # fix: preds = torch.argmax(out, dim=1)
    k = min(len(preds), len(yb))
    return (preds[:k] == yb[:k]).float().mean()


model = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
bs = 50
for epoch in range(6):
    model.train()
    for i in range(0, 1400, bs):
        loss = F.cross_entropy(model(xs[i:i + bs]), ys[i:i + bs])
        loss.backward()
        opt.step()
        opt.zero_grad()
    model.eval()
    with torch.no_grad():
        accs = []
        for i in range(1400, 1797, bs):
            out = model(xs[i:i + bs])
            F.cross_entropy(out, ys[i:i + bs])
            accs.append(accuracy(out, ys[i:i + bs]))
        told = torch.stack(accs).mean().item()
    print(epoch, 'loss', loss.item(), 'accuracy', told)
with torch.no_grad():
    real = (model(xs[1400:]).max(1).indices == ys[1400:]).float().mean().item()
print('metric error_of_the_metric', abs(real - told), 'lower')
