"""Small made-up histories, for the examples that stand beside each rule.

What is equal is shared.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.facts.code import Site
from stethoscope.facts.model import Experiment, Preflight
from stethoscope.facts.training import (
    LAYER_STATISTICS,
    PARAMETER_STATISTICS,
    Curve,
    Doubles,
    Floats,
    History,
    Integers,
    Layer,
    LossCall,
    Optimizer,
    Parameter,
    Telemetry,
)

LN_10 = 2.3026
"""Loss of a guess among ten equally frequent classes."""


def flat(level: float, steps: int = 200, noise: float = 0.01) -> Doubles:
    """A loss that stays at a level, with a ripple."""
    values: Doubles = level * (1 + noise * np.sin(np.arange(steps) * 2.4))
    return values


def falling(start: float, end: float, steps: int = 200) -> Doubles:
    """A loss that falls as an exponential does, and has come near its end after half of the steps."""
    values: Doubles = end + (start - end) * np.exp(-np.arange(steps) * 10.0 / steps) * (
        1 + 0.01 * np.sin(np.arange(steps) * 2.4)
    )
    return values


@lru_cache(maxsize=64)
def _steps(count: int) -> Integers:
    steps = np.arange(count)
    steps.flags.writeable = False
    return steps


@lru_cache(maxsize=16)
def _network(weights: int) -> tuple[tuple[Layer, ...], tuple[Parameter, ...]]:
    """Linear layers `0`, `2`, `4`, ..., and their weights."""
    return (
        tuple(Layer(f"{2 * i}", "Linear", order=2 * i, parameters=(i,)) for i in range(weights)),
        tuple(Parameter(f"{2 * i}.weight", (64, 64), layer=i, optimizer=0) for i in range(weights)),
    )


@lru_cache(maxsize=16)
def _unseen(looks: int, weights: int) -> Floats:
    """Layer statistics of which nothing is known."""
    table = np.full((looks, weights, len(LAYER_STATISTICS)), np.nan, np.float32)
    table.flags.writeable = False
    return table


def run(
    loss: ArrayLike,
    *,
    chance: float = LN_10,
    updates: ArrayLike = 0.003,
    gradients: ArrayLike = 0.01,
    descent: ArrayLike = 0.0,
    norms: ArrayLike = (),
    weights: int = 3,
    rate: float = 0.1,
    kind: str = "SGD",
) -> History:
    """The history of a classifier of linear layers `0`, `2`, `4`, ..., with a look at each of the first steps.

    Args:
        loss: training loss of each step.
        chance: what guessing would reach.
        updates: size of updates / size of weights, to be spread over (looks, weights).
        gradients: rms of the gradients, likewise.
        descent: loss decrease promised by each step, likewise.
        norms: gradient norm at the first looks; left out when empty.
        weights: number of layers.
        rate: learning rate.
        kind: of the optimizer.
    """
    values = np.asarray(loss, np.float64)
    table = _statistics(weights, update_ratio=updates, gradient_rms=gradients, descent=descent)
    curves = [Curve("training loss", "loss", "training", _steps(values.size), values)]
    curves.append(Curve("learning rate", "learning rate", "training", np.zeros(1, np.int64), np.array([rate])))
    seen = np.asarray(norms, np.float64)
    if seen.size:
        curves.append(Curve("gradient norm", "norm", "training", _steps(seen.size), seen))
    layers, parameters = _network(weights)
    line = f"optimizer = torch.optim.{kind}(model.parameters(), lr={rate:g})"
    return History(
        steps=values.size,
        layers=layers,
        parameters=parameters,
        optimizers=(Optimizer(kind, Site("train.py", 16, "", line), groups=({"lr": rate},), steps=values.size),),
        losses=(LossCall("cross_entropy", training_calls=50, chance=chance),),
        curves=tuple(curves),
        telemetry=Telemetry(_steps(len(table)), _unseen(len(table), weights), table),
    )


def _statistics(weights: int, **columns: ArrayLike) -> Floats:
    """(looks, weights, statistics) with these columns and a weight of usual size, and NaN in all others."""
    given = {name: np.asarray(numbers) for name, numbers in columns.items()}
    looks = max([12, *(len(numbers) for numbers in given.values() if numbers.ndim == 2)])
    table = np.full((looks, weights, len(PARAMETER_STATISTICS)), np.nan, np.float32)
    table[:, :, PARAMETER_STATISTICS.index("weight_rms")] = 0.07
    for name, numbers in given.items():
        table[:, :, PARAMETER_STATISTICS.index(name)] = numbers
    return table


def tried(**fields: Any) -> History:
    """A history in which only experiments before training have shown something: fields of a `Preflight`."""
    return History(preflight=Preflight(experiments=(Experiment("some", "some", "shown"),), **fields))


def checked(history: History) -> History:
    """The first steps of a run, in a check: experiments were made as well."""
    return replace(history, preflight=tried().preflight)


def with_curve(history: History, curve: Curve) -> History:
    """The history with one more curve, or with that curve in the place of one of the same name."""
    return replace(history, curves=(*(c for c in history.curves if c.name != curve.name), curve))
