"""Batches so large that a run has hardly any steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import SmallerBatches
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Batches, Curve, Doubles, History
from stethoscope.facts.weights import middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.sites import code, place_at

USUAL = 32
"""Rows of a batch that is tried instead (D. Masters and C. Luschi, 2018: 32 or smaller was best throughout)."""
NO_PACE = 1e-4
"""Slower weights are a matter of the learning rate, not of the number of steps."""


def _run(loss: ArrayLike, rows: int = 1437, updates: ArrayLike = 0.002) -> History:
    """A classifier whose batches have so many rows."""
    seen = run(loss, updates=updates)
    looks = np.arange(min(12, seen.steps))
    sizes = np.full(looks.size, rows)
    return replace(seen, batches=Batches(looks, sizes, looks + 1, samples=sizes))


class BatchTooLarge(Rule):
    """Each batch takes so many rows that the whole run has too few steps to learn.

    ## What it sees
    The rows of a batch and the number of steps, in a run whose loss falls smoothly from step to step, has not come
    half of the way to 0, and still falls when training ends, though the weights move at a usual pace.
    ## Why it hurts
    A step moves the weights by about 0.1 % however many rows it has seen. Beyond a certain size more rows make the
    gradient no better: they only make fewer steps of the same work.
    ## How to fix it
    Use smaller batches: 32 to 128 rows. Or raise the learning rate with the batch, as far as the loss allows.
    ## When it is not a fault
    Full batches with enough steps. A run that learns well, or one of many steps, is not reported.
    ## Sources
    N. S. Keskar et al., "On Large-Batch Training for Deep Learning", ICLR 2017. S. McCandlish et al., "An Empirical
    Model of Large-Batch Training", arXiv:1812.06162. D. Masters and C. Luschi, arXiv:1804.07612.
    """

    severity = Severity.WARNING
    explains = (
        "too-few-epochs",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "underfitting",
        "no-gain-over-baseline",
        "learning-rate-too-low",
    )
    reads = ("losses", "batches", "updates")
    to_the_end = True
    treatments = (SmallerBatches(USUAL),)

    rows = Limit(256, unit="rows in a batch", why="eight times the usual 32; smaller ones cost few steps")
    most_steps = Limit(300, unit="steps", why="small networks learn their task within a few hundred steps of any batch")
    smooth = Limit(
        0.25,
        unit="change of the loss from one step to the next / its whole fall",
        why="0.01 to 0.05 with 500 rows and more; where batches differ by more, smaller ones would not help",
    )
    falling = Limit(
        0.01, unit="fall of the loss over the last third / where learning begins", why="a loss that has settled is done"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the size of the batches by the steps that they leave."""
        progress, curve = progress_of(seen), seen.curve("loss")
        sizes = seen.batches.samples
        if curve is None or not progress.known or not sizes.size:
            yield self.cannot_tell("the run was too short, or its batches or its loss were not seen")
            return
        if seen.ended_by or not seen.finished:
            yield self.cannot_tell("the run did not end by itself")
            return
        rows = int(np.median(sizes))
        if rows < self.rows or seen.steps > self.most_steps or progress.learns_well or progress.nonfinite_step >= 0:
            return
        late = _late_fall(curve)
        fall = progress.start - progress.end
        moves = _pace(seen) >= NO_PACE
        if moves and late >= self.falling * progress.reference > 0 and progress.noise <= self.smooth * fall:
            yield self._report(seen, progress, rows, late)

    def _report(self, seen: History, progress: Progress, rows: int, late: float) -> Finding:
        steps = seen.steps
        return self.finding(
            f"batches of {rows:,} rows leave {steps:,} steps, too few to learn",
            sureness=Sureness.SUSPECTED,
            place=place_at(seen.optimizers[0].site if seen.optimizers else None, steps=(0, max(steps - 1, 0))),
            evidence=[
                Evidence("rows in a batch", f"{rows:,}", f"{USUAL} to 128", "median of the batches looked at"),
                Evidence(
                    "steps of the run", f"{steps:,}", f"{steps * rows // USUAL:,}", f"the same rows, {USUAL} at a time"
                ),
                Evidence(
                    "change of the loss from step to step, as a share of its whole fall",
                    f"{progress.noise / (progress.start - progress.end):.0%}",
                    "far more, with batches of a usual size",
                    "so smooth that fewer rows would give as good a direction",
                ),
                loss_evidence(seen, progress),
            ],
            cause=f"The loss comes down smoothly and still fell by {late:.2g} in the last third of the run: every step "
            "is sound, there are too few of them for the rows that went in.",
            fixes=[
                "Take smaller batches:\n" + code(f"DataLoader(dataset, batch_size={USUAL}, shuffle=True)"),
                "Or raise the learning rate with the batch, two- to tenfold, as long as the loss does not swing.",
            ],
            unless="the steps were meant to be few.",
        )

    bad = Examples(
        lambda: {
            "forty steps on the whole": _run(_coming_down(2.32, 2.0, 40)),
            "256 rows": _run(_coming_down(2.32, 2.0, 60), rows=256),
            "300 steps": _run(_coming_down(2.32, 1.95, 300)),
            "a fall next to the limit": _run(_coming_down(2.32, 2.2315, 60)),
            "noise next to the limit": _run(_coming_down(2.32, 1.9, 60, ripple=0.073)),
        }
    )
    good = Examples(
        lambda: {
            "learns well": _run(falling(2.32, 0.3, 60)),
            "255 rows": _run(_coming_down(2.32, 2.0, 60), rows=255),
            "301 steps": _run(_coming_down(2.32, 1.95, 301)),
            "a fall just below the limit": _run(_coming_down(2.32, 2.235, 60)),
            "noise just above the limit": _run(_coming_down(2.32, 1.9, 60, ripple=0.077)),
            "has settled": _run(np.r_[_coming_down(2.32, 2.0, 30), flat(2.0, 30, noise=0.0001)]),
            "stuck": _run(flat(2.31, 60)),
            "a rate too low to get anywhere": _run(_coming_down(2.32, 2.2, 60), updates=1e-5),
            "ended by hand": replace(_run(_coming_down(2.32, 2.0, 60)), ended_by="KeyboardInterrupt"),
            "batches not seen": run(_coming_down(2.32, 2.0, 60)),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)
        size = len(images)  # fix: size = 32
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=size, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        for epoch in range(30):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _coming_down(start: float, end: float, steps: int, ripple: float = 0.001) -> Doubles:
    """A loss that falls evenly, with a ripple."""
    values: Doubles = np.linspace(start, end, steps) + ripple * np.sin(np.arange(steps) * 2.4)
    return values


def _late_fall(curve: Curve) -> float:
    """Of the loss over the last third of the run."""
    values = curve.values[np.isfinite(curve.values)]
    last = np.array_split(values, 3)[-1]
    ends = max(1, last.size // 4)
    return float(np.median(last[:ends]) - np.median(last[-ends:]))


def _pace(seen: History) -> float:
    """Update / weight of the typical weight, median over the looks; infinite where it was not seen."""
    ratios = update_ratios(seen, weights_by_depth(seen))
    return float(np.nanmedian(middle(ratios))) if ratios.size and np.isfinite(ratios).any() else float("inf")
