"""Attention that looks at one position only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Kind, Plot, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.flow import Attention
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import Doubles, History
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome
from stethoscope.rules.sites import code, place_at

LAST_READINGS = 3


def _attending(shares: ArrayLike, loss: ArrayLike, keys: int = 16) -> History:
    """A network with one attention, whose entropies were read so."""
    values = np.asarray(shares, np.float64)
    return replace(run(loss), attention=(Attention(0, keys, np.arange(values.size) * 16, values),))


class AttentionCollapse(Rule):
    """The weights of an attention are all on one position, whatever is asked.

    ## What it sees
    The entropy of attention weights beside that of even ones, read now and then from the graph of the training loss,
    in a run that does not learn well.
    ## Why it hurts
    Where one score is far above the others, the softmax passes on one value and next to no gradient for the scores:
    queries and keys stop learning.
    ## How to fix it
    Divide the scores by the root of the width of a head; put a normalization before queries and keys; lower the
    learning rate, or warm it up.
    ## When it is not a fault
    Attention that has learned to point at one position, in a network that does its task.
    ## Sources
    S. Zhai et al., "Stabilizing Transformer Training by Preventing Attention Entropy Collapse", ICML 2023. A. Vaswani
    et al., "Attention Is All You Need", NIPS 2017, 3.2.1 (why the scores are scaled).
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING
    explains = (
        "loss-not-decreasing",
        "underfitting",
        "too-few-epochs",
        "collapsed-predictions",
        "no-gain-over-baseline",
    )
    reads = ("losses", "activations")

    entropy = Limit(
        0.05, unit="entropy / entropy of even weights", why="that of a weight of 0.98 on one of 16 positions"
    )
    readings = Limit(4, unit="readings", why="the first steps alone say little about training")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each attention by its last readings."""
        progress = progress_of(seen)
        if not any(each.shares.size >= self.readings for each in seen.attention):
            yield self.cannot_tell("no attention over eight positions or more was read often enough")
            return
        if not progress.known or progress.learns_well:
            return
        judged = [each for each in seen.attention if each.shares.size >= self.readings]
        collapsed = [each for each in judged if _late(each.shares) <= self.entropy]
        if collapsed:
            yield self._report(seen, collapsed, len(judged))

    def _report(self, seen: History, collapsed: list[Attention], count: int) -> Finding:
        worst = min(collapsed, key=lambda each: _late(each.shares))
        which = "attention" if count == 1 else f"{len(collapsed)} of {count} attentions"
        progress = progress_of(seen)
        began = int(worst.steps[int(np.argmax(worst.shares <= self.entropy))])
        return self.finding(
            f"{which} of {worst.keys:,} positions look{'s' if count == 1 else ''} at one of them only",
            severity=Severity.WARNING if progress.is_stuck or progress.gain < 0.5 else Severity.NOTE,
            place=place_at(None, steps=(began, max(seen.steps - 1, began))),
            evidence=[
                Evidence(
                    "entropy of the attention weights / that of even ones, last readings",
                    f"{_late(worst.shares):.2g}",
                    "0.3 to 1",
                    f"first reading: {worst.shares[0]:.2g}; median over samples and heads",
                    Plot(
                        tuple(map(float, worst.steps)),
                        tuple(map(float, worst.shares)),
                        "entropy of attention weights",
                        (0.1, 1.0),
                    ),
                ),
                Evidence("attentions in that state", f"{len(collapsed)} of {count}", "0"),
                loss_evidence(seen, progress),
            ],
            cause="One score is so far above the others that the softmax gives it all the weight, and hardly any "
            f"gradient comes back to queries and keys; the loss {outcome(progress)}.",
            fixes=[
                Fix("See that the scores are divided:\n" + code("scores = q @ k.transpose(-2, -1) / head_width**0.5")),
                "Put a layer normalization before the queries and keys, and lower the learning rate or warm it up.",
            ],
            unless="the network is meant to point at one position.",
        )

    bad = Examples(
        lambda: {
            "collapsed from the start": _attending([0.01] * 8, flat(2.31)),
            "collapsed in training": _attending([0.9, 0.8, 0.5, 0.1, 0.02, 0.01, 0.01], flat(2.31)),
            "next to the limit": _attending([0.9, 0.049, 0.049, 0.049], flat(2.31)),
        }
    )
    good = Examples(
        lambda: {
            "spread": _attending([0.9] * 8, flat(2.31)),
            "just above the limit": _attending([0.9, 0.051, 0.051, 0.051], flat(2.31)),
            "points, and learns well": _attending([0.9, 0.1, 0.01, 0.01, 0.01], falling(2.31, 0.1)),
            "three readings": _attending([0.01] * 3, flat(2.31)),
            "no attention": run(flat(2.31)),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        pixels = torch.tensor(data.data / 16, dtype=torch.float32).reshape(-1, 64, 1)
        labels = torch.tensor(data.target)


        class Attend(nn.Module):
            def __init__(self, width=32):
                super().__init__()
                self.place = nn.Parameter(torch.randn(64, width))
                self.read = nn.Linear(1, width)
                self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
                self.norm = nn.LayerNorm(width)
                self.answer = nn.Linear(width, 10)

            def forward(self, x):
                x = self.read(x) * self.place
                scale = 4 * 32  # fix: scale = 32**-0.5
                scores = self.query(x) @ self.key(x).transpose(1, 2) * scale
                x = self.norm(x + scores.softmax(dim=-1) @ self.value(x))
                return self.answer(x[:, -1])


        model = Attend()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for epoch in range(8):
            for rows in torch.randperm(len(labels)).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(pixels[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        print(f"loss {loss.item():.4f}")
        """)


def _late(shares: Doubles) -> float:
    return float(np.median(shares[-LAST_READINGS:]))
