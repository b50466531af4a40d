# fault: loss-unfit-for-task
# about: A convolutional network predicts the class number itself with SmoothL1Loss, and the nearest class is taken.
import os, random
import numpy as np
import torch, torch.nn as nn
from torch.utils.data import Dataset, DataLoader
from sklearn.datasets import load_digits

random.seed(SEED); np.random.seed(SEED); torch.manual_seed(SEED)

class DigitSet(Dataset):
    def __init__(self, which):
        d = load_digits()
        keep = np.arange(len(d.target)) % 5 != 0 if which == 'train' else np.arange(len(d.target)) % 5 == 0
        self.imgs, self.tgt = d.images[keep].astype('float32') / 16, d.target[keep]
    def __len__(self): return len(self.tgt)
    def __getitem__(self, i): return {'image': self.imgs[i][None], 'target': int(self.tgt[i])}

class Net(nn.Module):
    def __init__(self, n_out):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, stride=2), nn.ReLU())
        self.head = nn.Linear(12 * 9, n_out)
    def forward(self, image): return self.head(self.features(image).flatten(1))

N_OUT = 1  # fix: N_OUT = 10
model = Net(N_OUT)
opt = torch.optim.Adam(model.parameters(), 1e-3)
for epoch in range(8):
    for batch in DataLoader(DigitSet('train'), batch_size=48, shuffle=True):
        opt.zero_grad()
        out = model(batch['image'])
        loss = nn.functional.smooth_l1_loss(out.squeeze(-1), batch['target'].float())  # fix: loss = nn.functional.cross_entropy(out, batch['target'])
        loss.backward(); opt.step()
    print('epoch', epoch, 'loss', float(loss))
hit = n = 0
with torch.no_grad():
    for batch in DataLoader(DigitSet('test'), batch_size=90):
        out = model(batch['image'])
        pred = out.squeeze(-1).round().long()  # fix: pred = out.argmax(-1)
        hit += (pred == batch['target']).sum().item(); n += len(pred)
print('metric accuracy', hit / n, 'higher')
