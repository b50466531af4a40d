# fault: badly-scaled-initialization, vanishing-gradients
# about: A weights_init from a GAN (normal, std 0.02) is applied to a deep plain classifier without batch normalization.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits


def weights_init(m):
    if m.__class__.__name__.find('Conv') != -1 or isinstance(m, nn.Linear):
        nn.init.normal_(m.weight.data, 0.0, 0.002)  # fix: nn.init.kaiming_normal_(m.weight.data, nonlinearity='relu')
        nn.init.constant_(m.bias.data, 0)


class PlainNet(nn.Module):
    def __init__(self):
        super(PlainNet, self).__init__()
        blocks = []
        channels = 1
        for width in (8, 8, 16, 16, 16):
            blocks += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(True)]
            channels = width
        self.main = nn.Sequential(*blocks, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16 * 16, 10))

    def forward(self, input):
        return self.main(input)


manualSeed = SEED
torch.manual_seed(manualSeed)
d = load_digits()
X, y = torch.tensor(d.images / 16, dtype=torch.float).unsqueeze(1), torch.tensor(d.target)
order = torch.randperm(len(X))
train, test = order[:1200], order[1200:]
net = PlainNet()
net.apply(weights_init)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
for epoch in range(4):
    for i, rows in enumerate(train[torch.randperm(1200)].split(40)):
        net.zero_grad()
        err = criterion(net(X[rows]), y[rows])
        err.backward()
        optimizer.step()
        if i % 15 == 0:
            print('[%d/4][%d/30] Loss: %.4f' % (epoch, i, err.item()))
with torch.no_grad():
    print('metric accuracy', (net(X[test]).argmax(1) == y[test]).float().mean().item(), 'higher')
