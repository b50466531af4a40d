"""How the signal and its gradient pass through a network before it has learned: the scale it was started at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stethoscope.facts.training import Floats, History
from stethoscope.facts.weights import NOT_BY_DEPTH, RECURRENT, Numbers, weights_by_depth

SQUASHING = ("sigmoid", "tanh")
NORMALIZING = ("Norm", "LRN")
"""Parts of the class names of normalization layers: after one the scale of a weight does not matter."""
FIRST_LOOKS = 3
"""The state at the start is the median of so many looks: one batch decides nothing."""


@dataclass(frozen=True)
class Chain:
    """The weight layers of one network, nearest the input first."""

    weights: tuple[int, ...]
    """Indexes into `History.parameters`."""
    layers: tuple[int, ...]
    """Indexes into `History.layers`."""
    feeds: tuple[str, ...]
    """What takes each one's output: `relu`, `tanh`, ..."""
    gains: Numbers
    """(weights,): rms of the weight times the square root of its inputs, at the first look: by what it multiplies
    the size of a signal of independent inputs. NaN where it was not measured."""
    signal: Numbers
    """(weights,): rms of each layer's output over the first looks."""
    gradient: Numbers
    """(weights,): rms of the loss's gradient with respect to it."""
    normalized: bool
    """Whether there is a normalization layer."""

    @property
    def squashed(self) -> int:
        """How many of them go into a sigmoid or tanh, the last one left out."""
        return sum(1 for feeds in self.feeds[:-1] if feeds in SQUASHING)

    @property
    def gain(self) -> float:
        """The typical gain of the layers before the last (of a single one: its own)."""
        gains = self.gains[:-1] if self.gains.size > 1 else self.gains
        known = gains[np.isfinite(gains)]
        return float(np.median(known)) if known.size else float("nan")

    @property
    def largest(self) -> int:
        """Which of them has the largest gain."""
        return int(np.argmax(np.nan_to_num(self.gains)))

    def only(self, which: int) -> Chain:
        """One of them by itself."""
        return replace(
            self,
            weights=self.weights[which : which + 1],
            layers=self.layers[which : which + 1],
            feeds=self.feeds[which : which + 1],
            gains=self.gains[which : which + 1],
            signal=self.signal[which : which + 1],
            gradient=self.gradient[which : which + 1],
        )


def chain_of(history: History, *, recurrent: bool = False) -> Chain | None:
    """The deepest chain of weight layers that was trained and measured; None when there is none of two or more.

    Args:
        recurrent: with all weights of recurrent layers, too.
    """
    telemetry = history.telemetry
    if not telemetry.steps.size:
        return None
    by_model: dict[int, list[int]] = {}
    for index in weights_by_depth(history):
        parameter = history.parameters[index]
        layer = history.layers[parameter.layer] if 0 <= parameter.layer < len(history.layers) else None
        if layer is None or layer.order < 0 or layer.kind in NOT_BY_DEPTH:
            continue
        if layer.kind in RECURRENT and not recurrent:
            continue
        mine = by_model.setdefault(layer.model, [])
        is_first = not any(history.parameters[i].layer == parameter.layer for i in mine)
        if parameter.optimizer >= 0 and (is_first or layer.kind in RECURRENT):
            mine.append(index)
    model, weights = max(by_model.items(), key=lambda item: len(item[1]), default=(0, []))
    if len(weights) < 2:
        return None
    layers = [history.parameters[i].layer for i in weights]
    inputs = np.array([max(1, int(np.prod(history.parameters[i].shape[1:]))) for i in weights])
    return Chain(
        weights=tuple(weights),
        layers=tuple(layers),
        feeds=tuple(history.layers[i].feeds for i in layers),
        gains=telemetry.parameter("weight_rms")[0, weights] * np.sqrt(inputs),
        signal=_at_first(telemetry.layer("rms")[:, layers]),
        gradient=_at_first(telemetry.layer("gradient_rms")[:, layers]),
        normalized=any(
            layer.model == model and any(part in layer.kind for part in NORMALIZING) for layer in history.layers
        ),
    )


def _at_first(values: Floats) -> Numbers:
    """Median over the first looks; NaN where one of them is missing."""
    return np.asarray(np.median(values[:FIRST_LOOKS].astype(np.float64), axis=0))
