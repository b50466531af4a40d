"""Sigmoid and tanh units that sit at their limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Kind, Plot, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import LAYER_STATISTICS, History
from stethoscope.facts.weights import middle, weights_by_depth
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome
from stethoscope.rules.sites import code, place_at

LAST_LOOKS = 5
"""The state at the end is the median of so many looks."""


def _run(loss: ArrayLike, *shares: float, at: int = 1, kind: str = "tanh") -> History:
    """Four layers; the share of saturated units of layer `at` over the looks."""
    seen = run(loss, weights=4)
    table = seen.telemetry.layers.copy()
    values = np.resize(np.asarray(shares), table.shape[0]) if len(shares) == 1 else np.asarray(shares)
    table[:, at, LAYER_STATISTICS.index("saturated_share")] = values[: table.shape[0]]
    layers = tuple(replace(layer, feeds=kind if i == at else "") for i, layer in enumerate(seen.layers))
    return replace(seen, layers=layers, telemetry=replace(seen.telemetry, layers=table))


class SaturatedActivations(Rule):
    """Most units of a sigmoid or tanh layer sit at their limits, where they pass no gradient.

    ## What it sees
    For each layer that is, or goes into, a sigmoid or tanh: the share of its values within 0.01 of a limit at the
    last looks, in a run that does not learn well. A network's last layer does not count.
    ## Why it hurts
    There the function is flat: its slope is below 2 % of the steepest, and so is the gradient that comes through. The
    layer has become a set of switches, and what lies before it stands still.
    ## How to fix it
    Find what drives it there: inputs on a large scale, weights drawn too large, or a learning rate that threw them
    out. A normalization layer before the function keeps it in its middle.
    ## When it is not a fault
    Gates are meant to open and close, and classifiers are sure of easy samples. A run that learns well is not
    reported.
    ## Sources
    X. Glorot and Y. Bengio, AISTATS 2010, section 3. M. Wardat et al., DeepDiagnosis, ICSE 2022 (more than half of the
    inputs outside of -5 to 5).
    """

    kind = Kind.SYMPTOM
    reads = ("losses", "activations")

    most = Limit(
        0.6,
        unit="share of saturated values, median over the last looks",
        why="weights drawn eight times too large show 0.7, units that learn at a usual scale 0 to 0.2",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Report the layer nearest the input among those that are saturated."""
        progress = progress_of(seen)
        if not progress.known:
            yield self.cannot_tell("the run was too short, or no loss was seen")
            return
        table = seen.telemetry.layer("saturated_share").astype(np.float64)
        if progress.learns_well or progress.ended_nonfinite or not table.shape[0]:
            return
        shares = middle(table[-LAST_LOOKS:])
        last = _last_order(seen)
        saturated = [
            index
            for index, layer in enumerate(seen.layers)
            if index < shares.size and 0 <= layer.order < last and shares[index] >= self.most
        ]
        if saturated:
            first = min(saturated, key=lambda index: seen.layers[index].order)
            yield self._report(seen, progress, first, float(shares[first]), len(saturated))

    def _report(self, seen: History, progress: Progress, index: int, share: float, count: int) -> Finding:
        layer = seen.layers[index]
        kind = (layer.feeds or layer.kind).lower()
        over = seen.telemetry.layer("saturated_share")[:, index]
        kept = np.isfinite(over)
        steps = seen.telemetry.steps[kept]
        plot = Plot(
            tuple(map(float, steps)), tuple(map(float, over[kept])), "share of saturated values", (0.0, self.most)
        )
        early = bool(over[kept][0] >= self.most)
        name = layer.name or layer.kind
        title = f"{share:.0%} of the {kind} values after `{name}` are at their limits"
        return self.finding(
            title if len(title) <= 72 else f"{share:.0%} of the values of a {kind} layer are at their limits",
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            place=place_at(None, steps=(int(steps[0]), max(seen.steps - 1, 0)), module=layer.name),
            evidence=[
                Evidence(
                    f"{kind} values within 0.01 of a limit, last looks",
                    f"{share:.0%} (at the start: {over[kept][0]:.0%})",
                    "below 20 %",
                    "sampled",
                    plot,
                ),
                *([Evidence("layers in that state", count, 0)] if count > 1 else []),
                loss_evidence(seen, progress),
            ],
            cause=(
                "They were there from the start, so the weights or the inputs are on too large a scale"
                if early
                else "They were driven there while training: a rate too high, or weights that grew"
            )
            + f"; a flat {kind} passes no gradient back, and the loss {outcome(progress)}.",
            fixes=[
                Fix(f"Normalize before the {kind}:\n{code('nn.LayerNorm(width)   # after the linear layer')}"),
                Fix("Draw the weights at the scale of the layer:\n" + code("nn.init.xavier_uniform_(layer.weight)")),
            ],
            unless=f"the {kind} is a gate that is meant to be shut.",
        )

    bad = Examples(
        lambda: {
            "saturated from the start": _run(flat(2.31), 0.9),
            "a share next to the limit": _run(flat(2.31), 0.61),
            "driven there": _run(flat(2.31), *np.linspace(0, 0.95, 8), *[0.95] * 4, kind="sigmoid"),
            "learns a little": _run(falling(2.31, 1.9), 0.9),
        }
    )
    good = Examples(
        lambda: {
            "learns well": _run(falling(2.31, 0.2), 0.9),
            "a share just below the limit": _run(flat(2.31), 0.59),
            "the last layer is sure": _run(flat(2.31), 0.9, at=3, kind="sigmoid"),
            "left its limits": _run(flat(2.31), *[0.9] * 6, *[0.1] * 6),
            "too short to say": _run(flat(2.31, 12), 0.9),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        labels = torch.tensor(data.target)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
        for layer in model[::2]:
            nn.init.normal_(layer.weight, std=2.0)  # fix: nn.init.xavier_normal_(layer.weight)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _last_order(seen: History) -> int:
    """Place of the last weight layer in the order of execution."""
    layers = (seen.parameters[index].layer for index in weights_by_depth(seen))
    return max((seen.layers[layer].order for layer in layers if 0 <= layer < len(seen.layers)), default=-1)
