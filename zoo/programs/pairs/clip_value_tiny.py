# fault: gradient-clipping-too-tight
# about: Each gradient entry is clipped to plus or minus 1e-4.
import math
import torch
from torch import nn

torch.manual_seed(SEED)
g = torch.Generator().manual_seed(1000 + SEED)
x = torch.rand(600, 2, generator=g) * 4 - 2
y = torch.sin(2 * x[:, :1]) * x[:, 1:] + 0.05 * torch.randn(600, 1, generator=g)

net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
loss_fn = nn.MSELoss()
for epoch in range(60):
    for i in torch.randperm(450).split(30):
        optimizer.zero_grad()
        loss = loss_fn(net(x[i]), y[i])
        loss.backward()
        nn.utils.clip_grad_value_(net.parameters(), 1e-4)  # fix: nn.utils.clip_grad_value_(net.parameters(), 1.0)
        optimizer.step()
    if epoch % 15 == 0:
        print(f'Epoch [{epoch}/60], Loss: {loss.item():.4f}')
with torch.no_grad():
    print('metric test_mse', loss_fn(net(x[450:]), y[450:]).item(), 'lower')
