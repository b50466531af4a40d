# fault: sigmoid-before-bce-with-logits
# about: A small encoder-decoder finds the strokes of noisy digits; it ends in a sigmoid and the loss takes logits.
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

rng = np.random.default_rng(SEED)
torch.manual_seed(SEED)


def make_data():
    img = load_digits().images / 16.0
    mask = (img > 0.4).astype('float32')
    noisy = img + rng.normal(0, 0.35, img.shape)
    idx = rng.permutation(len(img))
    t = lambda a: torch.tensor(a, dtype=torch.float32)[:, None]
    return t(noisy[idx[:1300]]), t(mask[idx[:1300]]), t(noisy[idx[1300:]]), t(mask[idx[1300:]])


def conv_block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class MiniUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = conv_block(1, 8)
        self.down2 = conv_block(8, 16)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2)
        self.merge = conv_block(24, 8)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(self.pool(a))
        c = self.merge(torch.cat([a, self.up(b)], 1))
        return torch.sigmoid(self.out(c))  # fix: return self.out(c)


def dice(pred, true):
    inter = (pred * true).sum()
    return (2 * inter / (pred.sum() + true.sum() + 1e-6)).item()


xtr, ytr, xva, yva = make_data()
net = MiniUNet()
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.5)
crit = nn.BCEWithLogitsLoss()
for epoch in range(4):
    net.train()
    order = torch.randperm(len(xtr))
    for k in range(0, len(order), 50):
        i = order[k:k + 50]
        l = crit(net(xtr[i]), ytr[i])
        opt.zero_grad()
        l.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        val = crit(net(xva), yva).item()
    print('epoch %d train %.3f val %.3f' % (epoch, l.item(), val))
print('metric val_loss %.4f lower' % val)
