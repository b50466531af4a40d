"""Mixed precision: autocast to bfloat16, a gradient scaler, clipping after unscaling."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(int(os.environ.get("SEED", 0)))
digits = load_digits()
x = torch.tensor((digits.data - 4.884) / 6.017, dtype=torch.float32)
y = torch.tensor(digits.target)
p = torch.randperm(len(x))
train_set = TensorDataset(x[p[:1400]], y[p[:1400]])
x_val, y_val = x[p[1400:]], y[p[1400:]]

net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(8):
    net.train()
    for input, target in DataLoader(train_set, batch_size=50, shuffle=True):
        opt.zero_grad()
        with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
            output = net(input)
            loss = loss_fn(output, target)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=5.0)
        scaler.step(opt)
        scaler.update()
    net.eval()
    with torch.no_grad(), torch.autocast(device_type="cpu", dtype=torch.bfloat16):
        scores = net(x_val)
    print(epoch, loss.item(), (scores.argmax(1) == y_val).float().mean().item(), scaler.get_scale())
