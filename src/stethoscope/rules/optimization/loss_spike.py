"""A loss that jumps up for a step or a few, and comes back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stethoscope.core.finding import CannotTell, Evidence, Finding, Kind, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Curve, Doubles, History, Inputs, Integers
from stethoscope.facts.weights import middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import small_plot, times
from stethoscope.rules.sites import code, place_at

NEIGHBOURS = 21
"""Steps round a value whose median it is compared with."""
BRISK = 0.03
"""Steps longer than this share of the weights may be what makes the loss jump."""
MOST_NAMED = 5
"""Steps that are named."""


def _jumping(at: ArrayLike, to: float, steps: int = 200, end: float = 0.2) -> Doubles:
    values = falling(2.31, end, steps)
    values[np.asarray(at, np.int64)] = to
    return values


FEWEST_ROWS = 4
"""The loss of one or two samples varies by its own size; that of a batch is a mean."""


class LossSpike(Rule):
    """The loss of single steps is many times that of the steps around them.

    ## What it sees
    Each value of the training loss beside the median of its neighbours, and beside where the run began: a spike is
    far above both, and the loss comes back after it. The steps are named.
    ## Why it hurts
    One such batch makes a step that undoes what many others did. Often it holds a broken sample: a typing error, a
    missing value written as -9999, an empty picture.
    ## How to fix it
    Look at the batches of the named steps. Repair or leave out what is wrong in them; clip gradients and a single
    batch can do no more harm than others.
    ## When it is not a fault
    One or two spikes in a run that learns well. Small losses flicker; only values far above the loss at the start
    count.
    ## Sources
    A. Chowdhery et al., PaLM, 2022, 5.1 (spikes, and skipping the batches before them).
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING
    reads = ("losses",)
    from_curves = True

    jump = Limit(
        10,
        unit="loss / median of its neighbours",
        why="batches of runs that learned differed by up to 7 at such heights",
    )
    height = Limit(
        3, unit="loss / loss where learning begins", why="a loss three times that of a new network is no ordinary batch"
    )
    rare = Limit(0.15, unit="share of the steps", why="what happens more often is an oscillation, and no spike")
    repeated = Limit(3, unit="spikes", why="one or two can be chance; three say that something in the data does it")
    fewest_steps = Limit(50, unit="steps", why="shorter runs have hardly begun when they end")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare each value with its neighbours."""
        progress, curve = progress_of(seen), seen.curve("loss")
        if curve is None or not progress.known or curve.values.size < self.fewest_steps:
            yield self.cannot_tell(f"fewer than {self.fewest_steps:g} values of a training loss were seen")
            return
        if _rows(seen) < FEWEST_ROWS:
            yield self.cannot_tell(f"in batches of fewer than {FEWEST_ROWS} samples each odd sample is a spike")
            return
        if progress.ended_nonfinite or not progress.reference > 0 or len(seen.loop.backward_sites) > 1:
            return
        around = _median_around(curve.values)
        spikes = self._spikes(curve, around, progress)
        is_harmless = spikes.size < self.repeated and progress.learns_well
        is_other = spikes.size > self.rare * curve.values.size or progress.end >= self.height * progress.start
        if spikes.size and not is_harmless and not is_other:
            yield self._report(seen, curve, around, spikes)

    def _spikes(self, curve: Curve, around: Doubles, progress: Progress) -> NDArray[np.intp]:
        high = curve.values >= self.height * progress.reference
        return np.flatnonzero(high & (curve.values >= self.jump * around))

    def _report(self, seen: History, curve: Curve, around: Doubles, spikes: Integers | NDArray[np.intp]) -> Finding:
        largest = int(spikes[curve.values[spikes].argmax()])
        step, value, before = int(curve.steps[largest]), float(curve.values[largest]), float(around[largest])
        named = ", ".join(f"{each:,}" for each in curve.steps[spikes[:MOST_NAMED]])
        more = f" and {spikes.size - MOST_NAMED:,} more" if spikes.size > MOST_NAMED else ""
        often = f"; {spikes.size} such steps" if spikes.size > 1 else ""
        level = f"{times(value / before)} times its level" if before > 0 else "from 0"
        cause, fixes = _account(before, _pace(seen))
        return self.finding(
            f"the loss jumps to {value:.3g} at step {step:,}, {level}{often}",
            severity=Severity.WARNING if spikes.size >= self.repeated else Severity.NOTE,
            place=place_at(curve.site, steps=(int(curve.steps[spikes[0]]), int(curve.steps[spikes[-1]]))),
            evidence=[
                Evidence(
                    f"training loss at step {step:,}",
                    f"{value:.4g}",
                    f"about {before:.3g}",
                    f"median of the {NEIGHBOURS} steps round it",
                    small_plot(curve, "training loss", log=True),
                ),
                Evidence("steps with such a jump", f"{spikes.size} (steps {named}{more})", "0"),
                *_gradient(seen, step),
            ],
            cause=cause,
            fixes=fixes,
        )

    bad = Examples(
        lambda: {
            "four broken batches": run(_jumping([40, 80, 120, 160], 500.0)),
            "three of them": run(_jumping([40, 100, 160], 500.0)),
            "two, in a run that learns little": run(_jumping([60, 160], 500.0, end=1.9)),
            "ten times the others": run(_jumping([60, 120, 180], 20.6, end=2.0)),
            "three times the start": run(_jumping([60, 120, 180], 6.4)),
            "often": run(_jumping(np.arange(30, 200, 6), 500.0)),
            "fifty steps": run(_jumping([20, 30, 40], 500.0, 50)),
        }
    )
    good = Examples(
        lambda: {
            "two, in a run that learns well": run(_jumping([40, 160], 500.0)),
            "no spike": run(falling(2.31, 0.1)),
            "a flicker of a small loss": run(_jumping([100, 150, 180], 1.0, end=0.01)),
            "just below ten times the others": run(_jumping([60, 120, 180], 19.4, end=2.0)),
            "just below three times the start": run(_jumping([60, 120, 180], 6.15)),
            "too often": run(_jumping(np.arange(14, 200, 6), 500.0)),
            "a jump that stays": run([*falling(2.31, 0.3, 120), *flat(50.0, 80)]),
            "one sample a step, without a batch axis": replace(
                run(_jumping([40, 80, 120, 160], 500.0)), inputs=(Inputs(shape=(8,)),)
            ),
            "49 steps": run(_jumping([20, 30, 40], 500.0, 49)),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_diabetes
        from torch import nn

        torch.manual_seed(SEED)
        data = load_diabetes()
        x = torch.tensor(data.data, dtype=torch.float32)
        x = (x - x.mean(0)) / x.std(0)
        y = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
        y = (y - y.mean()) / y.std()
        y[17] = -999.0  # fix:
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True)
        model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
        opt = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(20):
            for features, target in loader:
                opt.zero_grad()
                loss = nn.functional.mse_loss(model(features), target)
                loss.backward()
                opt.step()
        print(f"median error {(model(x) - y).abs().median().item():.3f}")
        """)


def _rows(seen: History) -> float:
    """Samples in a batch: by its targets, or else by its first axis. An input with one axis is one sample."""
    if seen.batches.sizes.size:
        return float(np.median(seen.batches.sizes))
    shapes = [one.shape for one in seen.inputs]
    return min((shape[0] if len(shape) > 1 else 1 for shape in shapes), default=math.inf)


def _median_around(values: Doubles) -> Doubles:
    """(points,): median of the values round each one; at the ends of those that there are."""
    finite = np.where(np.isfinite(values), values, np.nanmedian(values[np.isfinite(values)]))
    padded = np.pad(finite, NEIGHBOURS // 2, mode="reflect")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, NEIGHBOURS), axis=1))


def _pace(seen: History) -> float:
    """Update / weight of the typical weight, median over the looks; 0 when it was not measured."""
    ratios = update_ratios(seen, weights_by_depth(seen))
    pace = float(middle(middle(ratios, axis=1))) if ratios.size else 0.0
    return pace if np.isfinite(pace) else 0.0


def _account(level: float, pace: float) -> tuple[str, list[str]]:
    """What may have made the loss jump, and what to do."""
    slower = "Lower the learning rate (`lr` of the optimizer) three- to tenfold and see whether the jumps end."
    if pace >= BRISK:
        cause = (
            f"Steps move the weights by {100 * pace:.2g} % of their size, so that one of them can throw the network "
            "off; or the batches of these steps hold a broken sample."
        )
        return cause, [slower]
    cause = "The batches of these steps fit the network far worse than all others, as a broken sample or target does."
    look = "Look at the samples of a batch with such a loss:\n" + code(
        f"if loss.item() > {10 * level:.2g}:", "    print(x.abs().max(), y)"
    )
    clip = "Let no single batch move the weights far, with a line before `optimizer.step()`:\n" + code(
        "nn.utils.clip_grad_norm_(model.parameters(), 1.0)"
    )
    return cause, [look, clip]


def _gradient(seen: History, step: int) -> Iterator[Evidence]:
    """The gradient norm at that step, when it was looked at."""
    norms = seen.curve("norm")
    if norms is None or step not in norms.steps:
        return
    at_step = float(norms.values[np.flatnonzero(norms.steps == step)[0]])
    usual = float(np.median(norms.values[np.isfinite(norms.values)]))
    if np.isfinite(at_step) and at_step > 3 * usual:
        yield Evidence(f"norm of all gradients at step {step:,}", f"{at_step:.3g}", f"about {usual:.2g}", "median")
