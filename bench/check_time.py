"""How long `stethoscope.check` takes: a Markdown table of seconds, by model and profile.

    python bench/check_time.py             all of it, some minutes
    python bench/check_time.py --only LSTM --rounds 1

Wall-clock seconds of a whole check on as many threads as torch takes by itself, median of the rounds. The models are an
MLP of 85,000 parameters, the ResNet-18 of the CIFAR papers at full width (11 million, 32 x 32 pictures), a transformer
language model (10 million) and an LSTM tagger (1 million), each with batches of made-up data.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from workloads import resnet18

import stethoscope

Made = tuple[nn.Module, Callable[..., Tensor], list[tuple[Tensor, Tensor]]]
BATCHES = 16


def mlp() -> Made:
    """Three linear layers on rows of 64 numbers."""
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    return model, F.cross_entropy, [(torch.randn(64, 64), torch.randint(10, (64,))) for _ in range(BATCHES)]


def resnet() -> Made:
    """ResNet-18 for 32 x 32 pictures."""
    batches = [(torch.randn(32, 3, 32, 32), torch.randint(10, (32,))) for _ in range(BATCHES)]
    return resnet18(width=64), F.cross_entropy, batches


class _LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(1000, 384), nn.Parameter(0.02 * torch.randn(64, 384))
        layer = nn.TransformerEncoderLayer(384, 6, 1536, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 5, enable_nested_tensor=False)
        self.head = nn.Linear(384, 1000)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.head(self.encoder(self.embed(tokens) + self.place, mask=mask, is_causal=True))


def over_tokens(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of every position."""
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def transformer() -> Made:
    """A causal language model of 64 tokens, batches of 16."""
    texts = [torch.randint(1000, (16, 65)) for _ in range(BATCHES)]
    return _LanguageModel(), over_tokens, [(text[:, :-1], text[:, 1:]) for text in texts]


class _Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(2000, 128), nn.Linear(512, 20)
        self.lstm = nn.LSTM(128, 256, batch_first=True, bidirectional=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.lstm(self.embed(tokens))[0])


def lstm() -> Made:
    """A tagger of 40 tokens, batches of 32."""
    batches = [(torch.randint(2000, (32, 40)), torch.randint(20, (32, 40))) for _ in range(BATCHES)]
    return _Tagger(), over_tokens, batches


MODELS: dict[str, Callable[[], Made]] = {"MLP": mlp, "ResNet-18": resnet, "transformer": transformer, "LSTM": lstm}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| | parameters | quick | default |\n|---|--:|--:|--:|")
    for name in [options.only] if options.only else MODELS:
        torch.manual_seed(0)
        model, loss, data = MODELS[name]()
        cells = [_seconds(model, loss, data, profile, options.rounds) for profile in ("quick", "default")]
        print(f"| {name} | {sum(p.numel() for p in model.parameters()):,} | {' | '.join(cells)} |", flush=True)


def _seconds(model: nn.Module, loss: Any, data: Any, profile: str, rounds: int) -> str:
    times, missing = [], 0
    for _ in range(rounds):
        began = time.perf_counter()
        checked = stethoscope.check(model, loss, data, profile=profile)
        times.append(time.perf_counter() - began)
        missing = sum("time" in each.why_not for each in checked.experiments)
    left = f" ({missing} left out)" if missing else ""
    return f"{statistics.median(times):.1f} s{left}"


if __name__ == "__main__":
    main()
