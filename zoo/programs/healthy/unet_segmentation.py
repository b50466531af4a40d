"""A tiny U-Net that marks discs in noisy pictures: cross-entropy per pixel plus a Dice term."""

import os

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(int(os.environ.get("SEED", 0)))


def make_pictures(count, size=24):
    grid = torch.arange(size).float()
    cx, cy = torch.rand(2, count, 1, 1) * (size - 8) + 4
    radius = torch.rand(count, 1, 1) * 4 + 2.5
    masks = ((grid[None, :, None] - cy) ** 2 + (grid[None, None, :] - cx) ** 2 < radius**2).long()
    return (masks + 0.4 * torch.randn(count, size, size)).unsqueeze(1) - 0.2, masks


def double_conv(c_in, c_out):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1),
        nn.BatchNorm2d(c_out),
        nn.ReLU(),
        nn.Conv2d(c_out, c_out, 3, padding=1),
        nn.BatchNorm2d(c_out),
        nn.ReLU(),
    )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = double_conv(1, 8), double_conv(8, 16)
        self.bottom = double_conv(16, 32)
        self.up2, self.conv2 = nn.ConvTranspose2d(32, 16, 2, stride=2), double_conv(32, 16)
        self.up1, self.conv1 = nn.ConvTranspose2d(16, 8, 2, stride=2), double_conv(16, 8)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        d1 = self.down1(x)
        d2 = self.down2(F.max_pool2d(d1, 2))
        x = self.bottom(F.max_pool2d(d2, 2))
        x = self.conv2(torch.cat([self.up2(x), d2], dim=1))
        x = self.conv1(torch.cat([self.up1(x), d1], dim=1))
        return self.out(x)


def dice_loss(scores, masks):
    p = scores.softmax(dim=1)[:, 1]
    m = masks.float()
    return 1 - (2 * (p * m).sum() + 1) / (p.sum() + m.sum() + 1)


images, masks = make_pictures(256)
val_images, val_masks = make_pictures(64)
model = UNet()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(4):
    model.train()
    for idx in torch.randperm(len(images)).split(16):
        scores = model(images[idx])
        loss = F.cross_entropy(scores, masks[idx]) + dice_loss(scores, masks[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val_scores = model(val_images)
        val = F.cross_entropy(val_scores, val_masks) + dice_loss(val_scores, val_masks)
    print(f"epoch {epoch} train {loss.item():.3f} val {val.item():.3f}")
