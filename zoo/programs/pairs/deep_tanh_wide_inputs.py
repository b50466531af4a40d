# fault: unnormalized-input, saturated-activations, saturating-activation-stack
# about: Raw measurements up to thousands go into tanh layers, which sit at their limits from the first batch.
import torch
from torch import nn
from sklearn import datasets
from sklearn.model_selection import train_test_split

torch.manual_seed(SEED)
data = datasets.load_breast_cancer()
X_tr, X_te, y_tr, y_te = train_test_split(data.data, data.target, test_size=.3, random_state=SEED)
mean, std = X_tr.mean(0), X_tr.std(0)


def to_tensor(x):
    x = torch.tensor(x, dtype=torch.float32)
    return x  # fix: return (x - torch.tensor(mean)).div(torch.tensor(std)).float()


X_tr, X_te = to_tensor(X_tr), to_tensor(X_te)
y_tr, y_te = torch.tensor(y_tr), torch.tensor(y_te)


class TanhNet(nn.Module):
    def __init__(self, depth=4, width=32):
        super().__init__()
        sizes = [30] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(i, o) for i, o in zip(sizes, sizes[1:]))
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.out(x)


net = TanhNet()
opt = torch.optim.SGD(net.parameters(), lr=0.05)
for epoch in range(20):
    for b in torch.randperm(len(X_tr)).split(20):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(X_tr[b]), y_tr[b])
        loss.backward()
        opt.step()
    if epoch % 5 == 0:
        print('epoch', epoch, loss.item())
with torch.no_grad():
    print('metric test_ce', nn.functional.cross_entropy(net(X_te), y_te).item(), 'lower')
