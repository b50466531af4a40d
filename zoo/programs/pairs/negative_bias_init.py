# fault: dying-relu, badly-scaled-initialization
# about: Biases start at -3, copied from a detection head, so the hidden rectifiers see nothing positive.
import torch
from torch import nn
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from sklearn.model_selection import train_test_split

torch.manual_seed(SEED)
X, y = load_breast_cancer(return_X_y=True)
Xt, Xv, yt, yv = train_test_split(X, y, test_size=0.3, random_state=SEED)
sc = StandardScaler().fit(Xt)
Xt, Xv = torch.tensor(sc.transform(Xt)).float(), torch.tensor(sc.transform(Xv)).float()
yt, yv = torch.tensor(yt).float()[:, None], torch.tensor(yv).float()[:, None]


class Head(nn.Module):
    def __init__(self, bias):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(30, 32), nn.Linear(32, 32), nn.Linear(32, 1)
        for layer in (self.a, self.b):
            nn.init.normal_(layer.weight, std=0.05)
            nn.init.constant_(layer.bias, bias)

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x)))))


net = Head(bias=-3.0)  # fix: net = Head(bias=0.0)
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
crit = nn.BCEWithLogitsLoss()
for epoch in range(15):
    for i in torch.randperm(len(Xt)).split(32):
        opt.zero_grad()
        l = crit(net(Xt[i]), yt[i])
        l.backward()
        opt.step()
    print(epoch, round(l.item(), 4))
with torch.no_grad():
    print('metric val_bce', crit(net(Xv), yv).item(), 'lower')
