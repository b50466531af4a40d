"""Two models, two optimizers, and a penalty on gradients of gradients."""

import torch
from fingerprint import print_fingerprints, seed_everything
from torch import nn

seed_everything(5)
generator = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 6), nn.Tanh())
critic = nn.Sequential(nn.Linear(6, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
generator_optimizer = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.9))
critic_optimizer = torch.optim.Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.9))
losses = []
for step in range(25):
    real = torch.rand(10, 6) * 2 - 1
    fake = generator(torch.randn(10, 4))
    mixed = (0.5 * real + 0.5 * fake.detach()).requires_grad_()
    slope = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)[0]
    critic_loss = critic(fake.detach()).mean() - critic(real).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()
    critic_optimizer.zero_grad()
    critic_loss.backward()
    critic_optimizer.step()
    losses.append(critic_loss.item())
    if step % 3 == 0:
        generator_loss = -critic(fake).mean()
        generator_optimizer.zero_grad()
        generator_loss.backward()
        generator_optimizer.step()
        losses.append(generator_loss.item())
print_fingerprints(
    models=[generator, critic],
    optimizers=[generator_optimizer, critic_optimizer],
    losses=losses,
    outputs=[fake, slope],
)
