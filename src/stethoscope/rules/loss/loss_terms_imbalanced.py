"""A sum of losses in which one drowns another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Plot, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Site
from stethoscope.facts.progress import progress_on
from stethoscope.facts.training import Curve, Doubles, History, Loop, LossCall
from stethoscope.rules.examples import LN_10, falling, flat, run
from stethoscope.rules.learning import times
from stethoscope.rules.sites import at, code, place_at
from stethoscope.rules.terms import gradients_of_terms

EXACT = 1e-3
"""The terms explain the whole loss when what is left over is below this share of it: then their weights are known."""


@dataclass(frozen=True)
class Terms:
    """The terms of the loss at the steps where all were seen."""

    steps: Doubles
    values: Doubles
    """(steps, terms): as the loss functions returned them."""
    weights: Doubles
    """(terms,): what each is multiplied with in the sum, read off the numbers."""

    @property
    def shares(self) -> Doubles:
        """(steps, terms): each weighted term as a share of the whole."""
        weighted = self.values * self.weights
        return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))


def _two_terms(small: ArrayLike, large: ArrayLike, weight: float = 1.0, extra: ArrayLike = 0.0) -> History:
    """A cross-entropy and a squared error, added up."""
    first, second = np.asarray(small, np.float64), np.asarray(large, np.float64)
    made = run(first + weight * second + np.asarray(extra, np.float64), chance=LN_10)
    calls = tuple(
        LossCall(
            function,
            Site("train.py", line, "", f"loss = loss + F.{function}(output, target)"),
            training_calls=values.size,
            chance=chance,
            first_value=float(values[0]),
            seen_steps=np.arange(values.size),
            seen_values=values,
        )
        for function, line, values, chance in (("cross_entropy", 30, first, LN_10), ("mse_loss", 31, second, np.nan))
    )
    return replace(made, losses=calls, loop=Loop(backward_sites=(Site("train.py", 33, "", "loss.backward()"),)))


class LossTermsImbalanced(Rule):
    """One term of the loss is so much larger than another that the other is not learned.

    ## What it sees
    The values that several loss functions returned, beside the loss that was backpropagated: they add up to it, and
    the factors of the sum follow from the numbers. One term makes up next to nothing of the whole and stays at
    guessing.
    ## Why it hurts
    Gradients add up like the terms do. Layers that both tasks share are shaped by the large term alone, and the
    common step size is held down by it.
    ## How to fix it
    Bring the terms to one scale: normalize the target of the large one, or give it a factor.
    ## When it is not a fault
    A small term that is learned all the same, as an auxiliary loss is meant to be.
    ## Sources
    A. Kendall, Y. Gal and R. Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR 2018.
    """

    severity = Severity.WARNING
    explains = (
        "collapsed-predictions",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
    )
    reads = ("losses",)

    share = Limit(
        0.02, unit="share of the whole loss", why="a term of a fiftieth hardly turns the gradient that all terms make"
    )
    fewest_steps = Limit(30, unit="steps at which all terms were seen", why="fewer do not show what is learned")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Take the loss apart, and look for a term that is small and not learned."""
        calls = [loss for loss in seen.losses if loss.seen_values.size >= self.fewest_steps]
        terms = _terms(seen, calls) if len(calls) > 1 and len(seen.loop.backward_sites) <= 1 else None
        if terms is None or terms.steps.size < self.fewest_steps:
            yield self.cannot_tell("the backpropagated loss is no plain sum of several loss functions")
            return
        shares = np.median(terms.shares, axis=0)
        largest = int(shares.argmax())
        for index, loss in enumerate(calls):
            values = Curve("", "loss", "training", terms.steps.astype(np.int64), terms.values[:, index])
            is_drowned = shares[index] < self.share and np.isfinite(loss.chance)
            if is_drowned and progress_on(values, loss.chance).is_stuck:
                yield self._report(seen, terms, (index, largest), calls)

    def _report(self, seen: History, terms: Terms, which: tuple[int, int], calls: list[LossCall]) -> Finding:
        small, large = which
        loss, other = calls[small], calls[large]
        shares = np.median(terms.shares, axis=0)
        last = max(3, terms.steps.size // 10)
        end = float(np.median(terms.values[-last:, small]))
        factor = float(f"{terms.weights[large] * shares[small] / shares[large]:.0e}")
        return self.finding(
            f"`{other.function}` is {times(shares[large] / shares[small])} times `{loss.function}` in the loss",
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"share of `{loss.function}` in the whole loss, median",
                    f"{100 * shares[small]:.1g} %",
                    "10 to 90 %",
                    f"{terms.steps.size} steps",
                    Plot(
                        tuple(map(float, terms.steps)),
                        tuple(map(float, terms.shares[:, small])),
                        f"{loss.function} / whole loss",
                        (self.share, None),
                        log=True,
                    ),
                ),
                Evidence(
                    f"`{loss.function}` alone, at the end",
                    f"{end:.4g} (guessing: {loss.chance:.4g})",
                    f"below {0.5 * loss.chance:.3g}",
                ),
                Evidence(
                    f"`{other.function}` alone, first and at the end",
                    f"{terms.values[0, large]:.4g}, {float(np.median(terms.values[-last:, large])):.4g}",
                    f"about as large as `{loss.function}`",
                ),
                *gradients_of_terms(seen, loss.function, other.function),
            ],
            cause=f"The terms are added as they are, and the one at {at(other.site)} decides nearly all of every "
            "gradient.",
            fixes=[
                "Bring the terms to one scale: normalize the target of the larger one, or weigh it down:\n"
                + code(f"loss = small_term + {factor:g} * large_term")
            ],
            unless=f"`{loss.function}` is only meant as a small help.",
        )

    bad = Examples(
        lambda: {
            "a squared error of hundreds": _two_terms(flat(2.3), falling(90000.0, 900.0)),
            "a share next to the limit": _two_terms(
                flat(2.3, noise=0.001), flat(117.0, noise=0.001) + np.arange(200) / 200
            ),
            "thirty steps": _two_terms(flat(2.3, 30), falling(90000.0, 900.0, 30)),
            "with a factor": _two_terms(flat(2.3), falling(9.0, 5.0), weight=1000.0),
        }
    )
    good = Examples(
        lambda: {
            "terms of one size": _two_terms(flat(2.3), falling(3.0, 0.5)),
            "small, and learned": _two_terms(falling(2.3, 0.1), falling(90000.0, 9000.0)),
            "a share just above the limit": _two_terms(
                flat(2.3, noise=0.001), flat(109.0, noise=0.001) + np.arange(200) / 200
            ),
            "29 steps": _two_terms(flat(2.3, 29), falling(90000.0, 900.0, 29)),
            "a weight that brings them to one scale": _two_terms(flat(2.3), falling(90000.0, 900.0), weight=1e-4),
            "something else is added": _two_terms(
                flat(2.3), falling(900.0, 90.0), extra=np.cos(np.arange(200.0)) * 400
            ),
            "one loss": run(flat(2.3)),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        ink = (images**2).sum(1, keepdim=True)
        ink = ink - ink.mean()
        # add: ink = ink / ink.std()
        images = (images - images.mean()) / images.std()
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, torch.tensor(data.target), ink), batch_size=64, shuffle=True
        )
        body = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        digit, weight = nn.Linear(64, 10), nn.Linear(64, 1)
        model = nn.ModuleList([body, digit, weight])
        opt = torch.optim.SGD(model.parameters(), lr=0.05)

        for epoch in range(6):
            for x, y, z in loader:
                opt.zero_grad()
                features = body(x)
                loss = nn.functional.cross_entropy(digit(features), y)
                loss = loss + nn.functional.mse_loss(weight(features), z)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
        print(f"loss of the digits {nn.functional.cross_entropy(digit(body(images)), torch.tensor(data.target)):.4f}")
        """)


def _terms(seen: History, calls: list[LossCall]) -> Terms | None:
    """The terms at the steps that had one of each, when weighted they add up to the whole; None otherwise."""
    curve = seen.curve("loss")
    if curve is None or any(loss.reduction == "none" for loss in calls):
        return None
    both = curve.steps
    for loss in calls:
        both = np.intersect1d(both, loss.seen_steps)
    tables = [(loss.seen_steps, loss.seen_values) for loss in calls]
    if any(np.unique(steps).size < steps.size for steps, _ in (*tables, (curve.steps, curve.values))):
        return None
    total = curve.values[np.isin(curve.steps, both)]
    values = np.stack([numbers[np.isin(steps, both)] for steps, numbers in tables], axis=1)
    usable = np.isfinite(total) & np.isfinite(values).all(axis=1) & (total > 0) & (values > 0).all(axis=1)
    total, values = total[usable], values[usable]
    if total.size <= 2 * len(calls):
        return None
    # Each row divided by its total: small late losses count as much as large early ones.
    weights = np.linalg.lstsq(values / total[:, None], np.ones(total.size), rcond=None)[0]
    left_over = np.abs(values @ weights / total - 1)
    if not (weights > 0).all() or float(np.quantile(left_over, 0.9)) > EXACT:
        return None
    return Terms(both[usable].astype(np.float64), values, weights.astype(np.float64))
