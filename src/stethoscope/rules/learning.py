"""Says in a finding how the run learned: the evidence that something hurts."""

from __future__ import annotations

import math

import numpy as np

from stethoscope.core.finding import Evidence, Plot
from stethoscope.facts.progress import Progress
from stethoscope.facts.training import Curve, Doubles, History

RISEN = -0.5
"""A gain below this: the loss ended at more than one and a half times where learning begins."""
MOST_POINTS = 200
"""Points of a small plot."""


def outcome(progress: Progress) -> str:
    """What became of the loss, as the end of a sentence that begins with `the loss`."""
    if progress.ended_nonfinite:
        return "is no longer a number"
    if progress.gain < RISEN:
        return "rose"
    return "is stuck" if progress.is_stuck else "falls little"


def loss_evidence(history: History, progress: Progress) -> Evidence:
    """The training loss at its end, beside where it began or what guessing would reach."""
    curve = history.curve("loss")
    plot = small_plot(curve, "training loss", (None, 0.5 * progress.reference)) if curve is not None else None
    if progress.ended_nonfinite:
        return Evidence(
            f"training loss, from step {progress.nonfinite_step}",
            "not a number, or infinite",
            "finite",
            plot=plot,
        )
    guessing = np.isfinite(progress.chance) and progress.chance <= progress.start
    what = "guessing" if guessing else "at the start"
    return Evidence(
        "training loss, median of its last tenth",
        f"{progress.end:.4g} ({what}: {progress.reference:.4g})",
        f"below {0.5 * progress.reference:.3g}",
        "half of the way from there to 0",
        plot,
    )


def times(factor: float) -> str:
    """A factor to two digits: `950`, `41,000`, `1.5e+10`."""
    rounded = float(f"{factor:.1e}")
    return f"{rounded:,.0f}" if rounded < 1e8 else f"{rounded:.1e}"


def small_plot(
    curve: Curve, label: str, healthy: tuple[float | None, float | None] = (None, None), *, log: bool = False
) -> Plot:
    """A curve with at most 200 points: the extremes of each stretch stay, and so do values that are no numbers."""
    steps, values = curve.steps, curve.values
    if values.size > MOST_POINTS:
        kept = _extremes(values, MOST_POINTS // 2)
        steps, values = steps[kept], values[kept]
    return Plot(
        tuple(map(float, steps)), tuple(v if v == v else math.nan for v in values.tolist()), label, healthy, log
    )


def _extremes(values: Doubles, stretches: int) -> list[int]:
    """Indexes of the smallest and largest value of each stretch; a value that is no number counts as largest."""
    ranked = np.where(np.isfinite(values), values, np.inf)
    kept: set[int] = set()
    for stretch in np.array_split(np.arange(values.size), stretches):
        kept.add(int(stretch[ranked[stretch].argmin()]))
        kept.add(int(stretch[ranked[stretch].argmax()]))
    return sorted(kept)
