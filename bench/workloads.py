"""The four training steps that are timed: two of milliseconds, two of a quarter of a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Workload:
    """A model, its optimizer, and one training step of both."""

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[], torch.Tensor]
    """Makes one whole step (forward, loss, zero_grad, backward, optimizer) and gives the loss."""


def workload(name: str, compiled: str = "") -> Workload:
    """One of `WORKLOADS`, with `compiled` as the backend of `torch.compile` when given."""
    torch.manual_seed(0)
    model, inputs, targets = WORKLOADS[name]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    called = torch.compile(model, backend=compiled) if compiled else model
    batches = [(inputs(), targets()) for _ in range(16)]
    count = 0

    def step() -> torch.Tensor:
        nonlocal count
        x, y = batches[count % len(batches)]
        count += 1
        loss = F.cross_entropy(called(x).flatten(0, -2), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Workload(name, model, optimizer, step)


Made = tuple[nn.Module, Callable[[], torch.Tensor], Callable[[], torch.Tensor]]


def mlp() -> Made:
    """64-256-256-10, batch 64: 85 thousand parameters."""
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    return model, partial(torch.randn, 64, 64), partial(torch.randint, 10, (64,))


def many_tiny_layers() -> Made:
    """100 times LayerNorm, Linear(32, 32), ReLU, batch 32: 302 leaf modules, 404 tensors."""
    blocks = [layer for _ in range(100) for layer in (nn.LayerNorm(32), nn.Linear(32, 32), nn.ReLU())]
    model = nn.Sequential(*blocks, nn.LayerNorm(32), nn.Linear(32, 10))
    return model, partial(torch.randn, 32, 32), partial(torch.randint, 10, (32,))


class _Residual(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride > 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        return self.relu(out + self.shortcut(x))


def cnn() -> Made:
    """ResNet-18 for 32 x 32 pictures at half its width, batch 32: 2.8 million parameters."""
    return resnet18(width=32), partial(torch.randn, 32, 3, 32, 32), partial(torch.randint, 10, (32,))


def resnet18(width: int) -> nn.Module:
    """ResNet-18 for 32 x 32 pictures; its usual width is 64."""
    blocks: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage in range(4):
        for number in range(2):
            wider = width * 2**stage
            blocks.append(_Residual(channels, wider, 2 if stage and not number else 1))
            channels = wider
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


class _Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, 256)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(256, 256)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(tokens)))


def transformer() -> Made:
    """4 layers of width 256, 128 tokens, batch 8: 3.3 million parameters."""
    tokens = partial(torch.randint, 256, (8, 128))
    return _Transformer(), tokens, tokens


WORKLOADS: dict[str, Callable[[], Made]] = {
    "MLP": mlp,
    "many tiny layers": many_tiny_layers,
    "transformer": transformer,
    "CNN": cnn,
}
