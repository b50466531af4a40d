"""Tells models and optimizers apart among what a user hands over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import nn
from torch.optim import Optimizer

from stethoscope.core.errors import UsageError


class Things(NamedTuple):
    """What is to be listened to."""

    models: list[nn.Module]
    optimizers: list[Optimizer]


def sorted_things(things: Iterable[object]) -> Things:
    """Models and optimizers, in the order given.

    Raises:
        UsageError: something else is among them.
    """
    found = Things([], [])
    for thing in things:
        if isinstance(thing, nn.Module):
            found.models.append(thing)
        elif isinstance(thing, Optimizer):
            found.optimizers.append(thing)
        else:
            raise UsageError(f"watch() takes models and optimizers, and got {type(thing).__name__}: {thing!r:.60}")
    return found
