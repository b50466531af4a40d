# fault: batch-norm-statistics-unsettled
# about: A 1-d convolution classifies wave forms in a Trainer class; evaluation is a single batch of predictions.
import math

import torch
from torch import nn


def waves(n, generator):
    kind = torch.randint(0, 3, (n,), generator=generator)
    t = torch.linspace(0, 4 * math.pi, 64)
    phase = torch.rand(n, 1, generator=generator) * 6
    base = torch.sin(t + phase)
    x = torch.where(kind[:, None] == 1, torch.sign(base), base)
    x = torch.where(kind[:, None] == 2, base.abs() * 2 - 1, x)
    return (20 + 5 * (x + 0.3 * torch.randn(x.shape, generator=generator))).unsqueeze(1), kind


def block(cin, cout, momentum):
    norm = nn.BatchNorm1d(cout, momentum=momentum)
    return nn.Sequential(nn.Conv1d(cin, cout, 5, padding=2), norm, nn.ReLU(), nn.MaxPool1d(2))


class WaveNet(nn.Module):
    def __init__(self, momentum=0.0005):  # fix: def __init__(self, momentum=0.05):
        super().__init__()
        self.blocks = nn.Sequential(block(1, 16, momentum), block(16, 32, momentum), block(32, 32, momentum))
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        return self.head(self.blocks(x).mean(dim=2))


class Trainer:
    def __init__(self, model, lr):
        self.model = model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        self.generator = torch.Generator().manual_seed(SEED)

    def step(self):
        self.model.train()
        x, y = waves(48, self.generator)
        loss = nn.functional.cross_entropy(self.model(x), y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def evaluate(self):
        self.model.eval()
        x, y = waves(300, self.generator)
        return (self.model(x).argmax(-1) == y).sum().item() / len(y)


torch.manual_seed(SEED)
trainer = Trainer(WaveNet(), 2e-3)
for i in range(250):
    loss = trainer.step()
print("last training loss", loss)
print(f"metric accuracy {trainer.evaluate():.4f} higher")
