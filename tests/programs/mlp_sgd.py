"""A multilayer perceptron with SGD and momentum, validation now and then, and a hook of the user's."""

import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn

seed_everything(1)
model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
seen = []
model[0].register_forward_hook(lambda module, args, output: seen.append(output.detach().mean()))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.99)
losses = []
for step in range(40):
    model.train()
    x, y = torch.randn(16, 20), torch.randint(5, (16,))
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    losses.append(loss.item())
    if step % 10 == 9:
        model.eval()
        with torch.no_grad():
            print(step, nn.functional.cross_entropy(model(x), y).item())
print_fingerprints(models=[model], optimizers=[optimizer], losses=losses, outputs=[model(x), seen])
