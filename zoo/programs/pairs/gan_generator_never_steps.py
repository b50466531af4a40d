# fault: missing-optimizer-step
# about: A GAN on 2-D points: the generator's loss is backpropagated, but its optimizer is never stepped.
import math
import torch
import torch.nn as nn

torch.manual_seed(SEED)


def real_points(n):
    angle = torch.rand(n) * math.pi
    return torch.stack([2 + angle.cos(), 2 + angle.sin()], 1) + 0.05 * torch.randn(n, 2)


def mlp(i, o):
    return nn.Sequential(nn.Linear(i, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, o))


netG, netD = mlp(4, 2), mlp(2, 1)
optimizerD = torch.optim.Adam(netD.parameters(), lr=2e-3, betas=(0.5, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))
criterion = nn.BCEWithLogitsLoss()
real_label, fake_label = torch.ones(64, 1), torch.zeros(64, 1)

for i in range(400):
    # (1) update D
    netD.zero_grad()
    errD_real = criterion(netD(real_points(64)), real_label)
    fake = netG(torch.randn(64, 4))
    errD_fake = criterion(netD(fake.detach()), fake_label)
    (errD_real + errD_fake).backward()
    optimizerD.step()
    # (2) update G
    netG.zero_grad()
    errG = criterion(netD(fake), real_label)
    errG.backward()
    optimizerD.step()  # fix: optimizerG.step()
    if i % 100 == 0:
        print('[%d] Loss_D: %.4f Loss_G: %.4f' % (i, (errD_real + errD_fake).item(), errG.item()))
with torch.no_grad():
    a, b = real_points(500), netG(torch.randn(500, 4))
    far = torch.cdist(b, a).min(1).values.mean() + torch.cdist(a, b).min(1).values.mean()
print('metric chamfer_distance', far.item(), 'lower')
