"""Linear regression that has long arrived at the noise of its data and goes on all the same."""

import os

import torch

torch.manual_seed(int(os.environ.get("SEED", 0)))
true_w, true_b = torch.tensor([[2.0], [-3.4], [0.7]]), 4.2
X = torch.randn(2000, 3)
y = X @ true_w + true_b + 0.1 * torch.randn(2000, 1)

net = torch.nn.Linear(3, 1)
loss_fn = torch.nn.MSELoss()
trainer = torch.optim.SGD(net.parameters(), lr=0.03)

for epoch in range(40):
    for batch in torch.randperm(1600).split(64):
        batch_loss = loss_fn(net(X[batch]), y[batch])
        trainer.zero_grad()
        batch_loss.backward()
        trainer.step()
    with torch.no_grad():
        held_out = loss_fn(net(X[1600:]), y[1600:])
    if epoch % 10 == 9:
        print(f"epoch {epoch + 1}, loss {batch_loss:f}, held out {held_out:f}")
