"""A run as another tool has logged it, and the history that can be made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stethoscope.adapters.importing.tags import BY_EPOCH, PHASES, learns_from_rewards, main_names, meaning, words_of
from stethoscope.facts.training import Curve, Doubles, History, Integers, Sampling

MOST_CURVES = 200
FEWEST_TIMES = 5
"""Training has so many times the steps of validation, at least, where the one counts steps and the other passes."""
PERCENT = 1.5
"""An accuracy above this is given in percent."""

Series = tuple[Integers, Doubles]


@dataclass
class Logged:
    """One run."""

    name: str
    source: str
    """The file or folder that it was read from."""
    series: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Name to (step, value), as they were written."""
    settings: dict[str, Any] = field(default_factory=dict)
    started: float = 0.0
    """Seconds since 1970."""
    ended: float = 0.0
    damage: list[str] = field(default_factory=list)
    """What could not be read, a sentence each."""


def history_of(logged: Logged, tool: str) -> History:
    """What the rules that need only curves can judge."""
    series = {name: tidy for name, points in logged.series.items() if (tidy := _tidy(points))[0].size}
    names = main_names({name: steps.size for name, (steps, _) in series.items()})
    notices = list(logged.damage)
    losses = [name for name in series if meaning(name).kind == "loss"]
    if learns_from_rewards(series):
        names = {key: name for key, name in names.items() if key[0] != "loss"}
        notices.append("rewards were logged: losses of learning from rewards are not meant to fall, and are not judged")
    elif losses and ("loss", "training") not in names:
        some = ", ".join(f"`{name}`" for name in losses[:4])
        notices.append(f"which curve is the training loss is not clear from the names ({some}), so none is judged")
    curves = [_named(kind, phase, *series[name]) for (kind, phase), name in names.items()]
    curves, moved = _on_one_axis(curves)
    if moved:
        notices.append("validation was logged by passes and training by steps: the passes were spread over the steps")
    rest = [name for name in series if name not in names.values()][: MOST_CURVES - len(curves)]
    curves += [Curve(name, "other", meaning(name).phase, *series[name]) for name in rest]
    judged = [curve for curve in curves if curve.kind != "other"]
    steps = 1 + max((int(curve.steps[-1]) for curve in judged or curves), default=-1)
    has_passes = any(curve.phase == "validation" for curve in curves if curve.kind == "loss")
    return History(
        steps=steps,
        parts=("losses", "validation") if has_passes else ("losses",),
        curves=tuple(curves),
        sampling=Sampling(budget=0.0, steps=steps, blind=tuple(notices)),
        imported=tool,
        unit="epoch" if _counts_epochs(series, names) else "step",
    )


def is_curve_of_training(logged: Logged) -> bool:
    """Whether anything in it can be judged or drawn as training."""
    return any(meaning(name).kind in ("loss", "accuracy") for name in logged.series)


def is_phase(name: str) -> bool:
    """Whether a folder's name says which part of a run it holds: `train`, `validation`."""
    return bool(words_of(name) & PHASES)


def _counts_epochs(series: Mapping[str, Series], names: Mapping[tuple[str, str], str]) -> bool:
    """Whether training has one point for each epoch: by its name, by a counter, or since validation has the same."""
    training = next((names[kind, "training"] for kind in ("loss", "accuracy") if (kind, "training") in names), None)
    if training is None:
        return False
    steps = series[training][0]
    if steps.size < 2 or steps[0] > 1 or (np.diff(steps) != 1).any():
        return False
    if words_of(training) & BY_EPOCH:
        return True
    held_out = [name for (_, phase), name in names.items() if phase == "validation"]
    counters = [values for name, (_, values) in series.items() if words_of(name) <= BY_EPOCH]
    return any(np.array_equal(series[name][0], steps) for name in held_out) or any(
        values.size == steps.size and np.array_equal(values - values[0], steps - steps[0]) for values in counters
    )


def _tidy(points: list[tuple[int, float]]) -> Series:
    """By steps, each once: what was written last counts."""
    kept: Mapping[int, float] = dict(points)
    steps = np.array(sorted(kept), np.int64)
    return steps, np.array([kept[step] for step in steps.tolist()], np.float64)


def _named(kind: str, phase: str, steps: Integers, values: Doubles) -> Curve:
    if kind == "accuracy" and values.size and PERCENT < np.nanmax(values) <= 100:
        values = values / 100
    name = {"learning rate": "learning rate", "norm": "gradient norm"}.get(kind, f"{phase} {kind}")
    return Curve(name, kind, phase, steps, values)


def _on_one_axis(curves: list[Curve]) -> tuple[list[Curve], bool]:
    """With the passes spread over the steps, where training counts steps and validation passes."""
    training = [curve for curve in curves if curve.phase == "training" and curve.kind in ("loss", "accuracy")]
    last = max((int(curve.steps[-1]) for curve in training), default=0)
    moved, found = False, []
    for curve in curves:
        steps = curve.steps
        by_one = steps.size > 1 and bool((np.diff(steps) == 1).all()) and steps[0] <= 1
        if curve.phase == "validation" and by_one and last >= FEWEST_TIMES * steps.size:
            spread = np.round(np.arange(1, steps.size + 1) * (last / steps.size)).astype(np.int64)
            curve, moved = Curve(curve.name, curve.kind, curve.phase, spread, curve.values), True
        found.append(curve)
    return found, moved
