"""A penalty that is larger than the loss it was added to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Plot
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import NoWeightDecay
from stethoscope.facts.code import Site
from stethoscope.facts.progress import progress_on
from stethoscope.facts.training import Curve, Doubles, History, Loop, LossCall
from stethoscope.rules.examples import LN_10, falling, flat, run
from stethoscope.rules.sites import at, code, place_at
from stethoscope.rules.terms import gradients_of_terms

SAME_RATIO = 0.02
"""A total that stays the same multiple of the data loss, to 2 %, is that loss scaled, and no penalty."""


@dataclass(frozen=True)
class Parts:
    """The backpropagated loss and the data loss in it, at the steps where both were seen."""

    steps: Doubles
    total: Doubles
    data: Doubles

    @property
    def rest(self) -> Doubles:
        """(steps,): share of the terms that is not the data loss, 0..1, by size: what is subtracted counts, too."""
        size: Doubles = np.abs(self.added)
        share: Doubles = size / (size + self.data)
        return share

    @property
    def added(self) -> Doubles:
        """(steps,): what was added to the data loss."""
        return self.total - self.data

    @property
    def early(self) -> slice:
        """The first tenth of the steps, five at least."""
        return slice(max(5, self.steps.size // 10))

    @property
    def late(self) -> slice:
        """The last tenth of the steps, five at least."""
        return slice(-max(5, self.steps.size // 10), None)


def _penalized(data: ArrayLike, penalty: ArrayLike) -> History:
    values = np.asarray(data, np.float64)
    made = run(values + np.asarray(penalty, np.float64), chance=LN_10)
    loss = replace(
        made.losses[0],
        site=Site("train.py", 22, "", "loss = F.cross_entropy(model(x), y) + 0.1 * penalty"),
        first_value=float(values[0]),
        seen_steps=np.arange(values.size),
        seen_values=values,
    )
    return replace(made, losses=(loss,), loop=Loop(backward_sites=(Site("train.py", 23, "", "loss.backward()"),)))


def _gone(start: float, end: float) -> Doubles:
    """A penalty that falls at once, and stays low."""
    values: Doubles = np.r_[np.full(20, start), np.full(180, end)]
    return values


class RegularizationDominatesLoss(Rule):
    """The terms added to the data loss outweigh it, so training lowers them and learns nothing.

    ## What it sees
    At each watched step, the value that the loss function returned beside the value that `backward()` started from:
    the difference is what was added to it. It makes up most of the total while the data loss stays near guessing; or
    it was a good part of it at first, and training has pressed it to next to nothing and learned nothing from the data.
    ## Why it hurts
    The gradients follow the larger term. A penalty on the weights drives them to zero, and the falling total looks
    like learning.
    ## How to fix it
    Lower the factor of the penalty until it is about a hundredth to a tenth of the data loss.
    ## When it is not a fault
    A data loss that falls as it should, whatever is added to it, is not reported.
    ## Sources
    E. Schoop et al., UMLAUT, CHI 2021, and H. Ben Braiek and F. Khomh, TheDeepChecker, TOSEM 2022 (regularisation
    that overwhelms the data loss).
    """

    treatments = (NoWeightDecay(),)
    explains = (
        "dying-relu",
        "learning-rate-too-high",
        "learning-rate-too-low",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "vanishing-gradients",
        "collapsed-predictions",
        "no-gain-over-baseline",
    )
    reads = ("losses",)

    share = Limit(0.5, unit="share of the backpropagated loss", why="from here on most of the loss is not the data's")
    learned = Limit(
        0.3,
        unit="share of the way from guessing to 0 that the data loss made",
        why="beside a penalty of no weight, short runs of small networks made more",
    )
    early_share = Limit(
        0.2,
        unit="share of the backpropagated loss, at first",
        why="a useful penalty begins at a tenth or less; one on a code that has not formed yet, as a VAE's, at 0.2",
    )
    pressed = Limit(
        0.2, unit="added terms at the end / at first", why="a penalty that the data holds up keeps most of its size"
    )
    first_share = Limit(
        0.03,
        unit="share of the backpropagated loss, at the first step",
        why="a smaller one that vanishes is pressed by nothing: the data's gradients may be gone for another reason",
    )
    vanished = Limit(
        0.02, unit="added terms at the end / at the first step", why="a code that carries anything costs a VAE more"
    )
    fewest_steps = Limit(30, unit="steps at which both were seen", why="fewer do not show whether the data loss falls")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare what the loss function returned with what was backpropagated."""
        loss = _only_loss(seen)
        parts = _parts(seen, loss) if loss is not None else None
        if loss is None or parts is None or parts.steps.size < self.fewest_steps:
            yield self.cannot_tell("the backpropagated loss cannot be laid beside a single loss function's value")
            return
        ratio = parts.total / parts.data
        if np.ptp(ratio) <= SAME_RATIO * abs(np.median(ratio)):
            return
        chance = _chance(seen, loss)
        of_data = progress_on(Curve("", "loss", "training", parts.steps.astype(np.int64), parts.data), chance)
        if of_data.ended_nonfinite or not of_data.known:
            return
        throughout, early = float(np.median(parts.rest)), float(np.median(parts.rest[parts.early]))
        start, end = (float(np.median(np.abs(parts.added[part]))) for part in (parts.early, parts.late))
        outweighs = throughout >= self.share and of_data.gain < self.learned
        # A penalty that has won is small in the end: the weights, or the code, that it is computed from are gone.
        has_won = early >= self.early_share and end <= self.pressed * start
        has_vanished = parts.rest[0] >= self.first_share and end <= self.vanished * abs(parts.added[0])
        if outweighs or (of_data.is_stuck and (has_won or has_vanished)):
            yield self._report(seen, loss, parts, chance, is_pressed=not outweighs)

    def _report(self, seen: History, loss: LossCall, parts: Parts, chance: float, *, is_pressed: bool) -> Finding:
        rest = float(parts.rest[0] if is_pressed else np.median(parts.rest))
        data_end, total_end = float(np.median(parts.data[parts.late])), float(np.median(parts.total[parts.late]))
        goal = f"below {0.5 * chance:.3g}" if np.isfinite(chance) else f"well below {parts.data[0]:.4g}"
        pressed = (
            [
                Evidence(
                    "what is added, first and last",
                    f"{parts.added[0]:.3g}, {np.median(parts.added[parts.late]):.3g}",
                    "gives way to the data loss",
                )
            ]
            if is_pressed
            else []
        )
        return self.finding(
            f"terms added to `{loss.function}` make up {rest:.0%} of the loss" + (" at first" if is_pressed else ""),
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "share of the backpropagated loss that is not the data loss, "
                    + ("at the first step" if is_pressed else "median"),
                    f"{rest:.0%}",
                    "1 to 10 %",
                    f"{parts.steps.size} steps",
                    Plot(
                        tuple(map(float, parts.steps)),
                        tuple(map(float, parts.rest)),
                        "added terms / whole loss",
                        (None, self.share),
                    ),
                ),
                Evidence(
                    "whole loss, first and last", f"{parts.total[0]:.4g}, {total_end:.4g}", "close to the data loss"
                ),
                Evidence(f"`{loss.function}` alone, first and last", f"{parts.data[0]:.4g}, {data_end:.4g}", goal),
                *pressed,
                *gradients_of_terms(seen, loss.function),
            ],
            cause=f"What is added to the loss at {at(loss.site)} outweighs it, so the gradients serve the addition and "
            "the data loss is hardly better than guessing.",
            fixes=[
                "Lower the factor of what is added until it is a few percent of the data loss:\n"
                + code(
                    f"loss = data_loss + {_factor(parts, 0.005 if is_pressed else 0.05):.0e} * factor_so_far * penalty"
                )
            ],
            unless="the added terms are the real aim of the training.",
        )

    bad = Examples(
        lambda: {
            "an L1 penalty with a large factor": _penalized(flat(2.3), [*falling(80.0, 4.0)]),
            "a share just above a half": _penalized(flat(2.3), falling(2.8, 2.37)),
            "thirty steps": _penalized(flat(2.3, 30), falling(40.0, 4.0, 30)),
            "a data loss that learned nearly too much": _penalized(falling(LN_10, 1.575), falling(8.0, 4.0)),
            "a bonus that is subtracted": _penalized(flat(2.3), -falling(7.0, 9.0)),
            "a penalty that has won, and is gone": _penalized(flat(2.3), _gone(30.0, 0.01)),
            "one that was a fifth of the loss at first": _penalized(flat(2.3), _gone(0.59, 0.05)),
            "a code that was given up": _penalized(flat(2.3), _gone(0.12, 0.002)),
            "a small one at first": _penalized(flat(2.3), _gone(0.073, 0.0001)),
            "a code that is all but given up": _penalized(flat(2.3), _gone(0.2, 0.0039)),
            "one that is nearly not gone": _penalized(flat(2.3), _gone(2.0, 0.39)),
        }
    )
    good = Examples(
        lambda: {
            "a small penalty": _penalized(flat(2.3), falling(0.2, 0.1)),
            "a large penalty beside a loss that falls": _penalized(falling(2.3, 0.2), falling(80.0, 4.0)),
            "a share just below a half": _penalized(flat(2.3), falling(2.6, 2.22)),
            "a data loss that learned just enough": _penalized(falling(LN_10, 1.54), falling(8.0, 4.0)),
            "a penalty that was less than a fifth of the loss at first": _penalized(flat(2.3), _gone(0.56, 0.05)),
            "a smaller one at first": _penalized(flat(2.3), _gone(0.07, 0.0001)),
            "a code that carries a little": _penalized(flat(2.3), _gone(0.2, 0.0041)),
            "one that the data held up": _penalized(flat(2.3), _gone(2.0, 0.41)),
            "29 steps": _penalized(flat(2.3, 29), falling(40.0, 4.0, 29)),
            "a loss times the batch size": _penalized(flat(2.3), 31 * flat(2.3)),
            "a run whose loss function was not heard": run(flat(2.3)),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        labels = torch.tensor(data.target)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
        opt = torch.optim.SGD(model.parameters(), lr=0.05)
        factor = 0.1  # fix: factor = 1e-5

        for epoch in range(8):
            for x, y in loader:
                opt.zero_grad()
                penalty = sum(p.abs().sum() for p in model.parameters())
                loss = nn.functional.cross_entropy(model(x), y) + factor * penalty
                loss.backward()
                opt.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _only_loss(seen: History) -> LossCall | None:
    """The one loss function that training goes through; None when there are several, or another reduction."""
    called = [loss for loss in seen.losses if loss.seen_values.size and loss.function != "backward"]
    if len(called) != 1 or len(seen.loop.backward_sites) > 1:
        return None
    return called[0] if called[0].reduction in ("mean", "sum") else None


def _chance(seen: History, loss: LossCall) -> float:
    """What guessing gives: a number for each column of the target, where it has several."""
    each = loss.chance_by_column if np.isfinite(loss.chance_by_column) else loss.chance
    if loss.reduction == "mean":
        return each
    rows = float(np.median(seen.batches.sizes)) if seen.batches.sizes.size else float("nan")
    return each * rows * float(np.prod(loss.output_shape[1:]))


def _parts(seen: History, loss: LossCall) -> Parts | None:
    """Both values at the steps that had one of each; None without any."""
    curve = seen.curve("loss")
    if curve is None or not curve.values.size:
        return None
    steps, counts = np.unique(loss.seen_steps, return_counts=True)
    totals, times = np.unique(curve.steps, return_counts=True)
    both = np.intersect1d(steps[counts == 1], totals[times == 1])
    data = loss.seen_values[np.isin(loss.seen_steps, both)]
    total = curve.values[np.isin(curve.steps, both)]
    usable = np.isfinite(data) & np.isfinite(total) & (data > 0)
    return Parts(both[usable].astype(np.float64), total[usable], data[usable])


def _factor(parts: Parts, share: float) -> float:
    """What to multiply the added terms with, so that they are this share of the data loss at the start."""
    added = float(parts.total[0] - parts.data[0])
    return share * float(parts.data[0]) / added if added > 0 else 0.1
