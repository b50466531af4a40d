"""How what a model is fed outside of training differs from what it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stethoscope.facts.training import History, Inputs

APART = float(np.log(2))
"""On a logarithmic scale: features of many units change by very different factors when they are standardized."""
MOST = 0.95
"""Share of the features that all have become wider, or narrower."""
KNOWN = 0.1
"""Share of training rows above which a pass is no test on other data."""


@dataclass(frozen=True)
class Change:
    """How the features of validation inputs differ from those of training inputs."""

    size: float
    """The wider of the two spreads / the narrower one, in the middle one of the features: at least 1."""
    changed: float
    """Share of the features whose spreads are apart by the root of that, or by 1.41, and more."""
    word: str
    """Which way it goes."""
    shift: float
    """Distance of the two means, in spreads of training, in the middle one of the features."""
    shifted: float
    """Share of the features that are shifted by half of that, and more."""


def change_between(one: Inputs, other: Inputs) -> Change | None:
    """From training to validation; None when no feature varies on both sides."""
    tiny = 1e-6 * np.maximum(1.0, np.abs(one.feature_means))
    varying = (one.feature_stds > tiny) & (other.feature_stds > 0)
    if not varying.any():
        return None
    ratios = np.log(other.feature_stds[varying] / one.feature_stds[varying])
    middle = float(np.median(np.abs(ratios)))
    changed = float(np.mean(np.abs(ratios) >= min(middle, APART) / 2))
    wider = float(np.mean(ratios > 0))
    word = "wider" if wider > MOST else "narrower" if wider < 1 - MOST else "wider or narrower"
    shifts = np.abs(other.feature_means - one.feature_means)[varying] / one.feature_stds[varying]
    shift = float(np.median(shifts))
    return Change(float(np.exp(middle)), changed, word, shift, float(np.mean(shifts >= shift / 2)))


def standardized_apart(seen: History, one: Inputs, other: Inputs) -> bool:
    """Whether each batch of validation has mean 0 and spread 1 by itself, which those of training have not."""
    if other.standardized < other.looks or not other.looks or one.standardized * 2 > one.looks:
        return False
    passes = [each for each in seen.held_out if each.model == other.model and each.site == other.site]
    return not any(each.in_training > KNOWN * each.rows for each in passes)


def in_several_batches(seen: History, other: Inputs) -> bool:
    """Whether a pass at that line takes several batches."""
    passes = [each for each in seen.validation if each.model == other.model and each.site == other.site]
    return any(each.distinct_inputs > 1 for each in passes)
