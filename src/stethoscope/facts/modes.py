"""Training and validation side by side: the same network, in its two modes, at the same time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import Curve, Doubles, History, Integers

FEWEST_POINTS = 3
"""Fewer points of training before a pass say nothing about where it stood."""
MOST_POINTS = 50


@dataclass(frozen=True)
class Sides:
    """A measure at each validation pass, and in the training steps right before it."""

    steps: Integers
    """(passes,): steps done when the pass began."""
    training: Doubles
    """(passes,): median over the last steps before it."""
    validation: Doubles


def losses_of(history: History) -> Sides | None:
    """The losses; None when there are none, or when the two may be different measures."""
    main = history.main_loss()
    if main is None or not np.isfinite(progress_of(history).chance):
        return None
    # Many scripts add up what they validate: a sum over a batch is no match for a mean.
    judged = [loss for loss in history.losses if loss.evaluation_calls]
    if any(loss.function != main.function or loss.reduction != main.reduction for loss in judged):
        return None
    return _sides(history.curve("loss"), history.curve("loss", "validation"))


def accuracies_of(history: History) -> Sides | None:
    """The accuracies; None when there are none."""
    return _sides(history.curve("accuracy"), history.curve("accuracy", "validation"))


def _sides(training: Curve | None, validation: Curve | None) -> Sides | None:
    if training is None or validation is None:
        return None
    kept, before = [], []
    for number, step in enumerate(validation.steps):
        until = int(np.searchsorted(training.steps, step))
        recent = training.values[max(0, until - min(MOST_POINTS, max(FEWEST_POINTS, until // 10))) : until]
        recent = recent[np.isfinite(recent)]
        if recent.size >= FEWEST_POINTS and np.isfinite(validation.values[number]):
            kept.append(number)
            before.append(float(np.median(recent)))
    if not kept:
        return None
    return Sides(validation.steps[kept], np.array(before), validation.values[kept])
