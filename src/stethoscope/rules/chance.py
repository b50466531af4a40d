"""What an answer that ignores the input would reach in validation, and whether the network does better."""

from __future__ import annotations

import numpy as np

from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History, Integers

DEVIATIONS = 3.0
"""Standard deviations of a share counted over the validation rows that chance may give."""
CLEARLY_BELOW = 0.95
"""A validation loss below this share of what guessing gives shows that something was learned."""
LAST_PASSES = 3


def held_out_counts(seen: History) -> Integers:
    """(classes,): targets seen in passes without gradients, of the loss that counted most of them."""
    counted = [np.array(loss.evaluation_class_counts, np.int64) for loss in seen.losses if loss.evaluation_class_counts]
    return max(counted, key=lambda counts: int(counts.sum()), default=np.zeros(0, np.int64))


def guess(seen: History) -> float:
    """Share of the most frequent class in validation; NaN when its targets were not counted."""
    counts = held_out_counts(seen)
    return float(counts.max() / counts.sum()) if counts.sum() else float("nan")


def validation_beats_guessing(seen: History) -> bool | None:
    """Whether validation accuracy (or, without one, loss) is better than a guess; None when it was not seen."""
    accuracy, loss = seen.curve("accuracy", "validation"), seen.curve("loss", "validation")
    share, counts = guess(seen), held_out_counts(seen)
    if accuracy is not None and accuracy.values.size and np.isfinite(share):
        rows = max(1.0, float(counts.sum()) / accuracy.values.size)
        spread = (share * (1 - share) / rows) ** 0.5
        return bool(np.median(accuracy.values[-LAST_PASSES:]) > share + DEVIATIONS * spread)
    chance = progress_of(seen).chance
    if loss is None or not loss.values.size or not np.isfinite(chance):
        return None
    return bool(np.nanmin(loss.values) < CLEARLY_BELOW * chance)
