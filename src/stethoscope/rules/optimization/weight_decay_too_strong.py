"""Weight decay that pulls the weights to zero faster than the gradients can build them up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Plot, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import NoWeightDecay
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import PARAMETER_STATISTICS, History, Optimizer
from stethoscope.facts.weights import Numbers, middle, weights_by_depth
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome
from stethoscope.rules.sites import code, place_at

DECOUPLED = ("AdamW",)
"""Optimizers that take `rate x decay` of the weights away at each step, apart from the gradient."""


def _shrinking(loss: ArrayLike, to: float, decay: float = 0.5, kind: str = "SGD", **settings: Any) -> History:
    """Weights that shrink to a share of their first size."""
    made = run(loss, kind=kind, **settings)
    table = made.telemetry.parameters.copy()
    table[:, :, PARAMETER_STATISTICS.index("weight_rms")] = 0.07 * np.geomspace(1, to, len(table))[:, None]
    optimizer = replace(made.optimizers[0], groups=({"lr": 0.1, "weight_decay": decay},))
    return replace(made, telemetry=replace(made.telemetry, parameters=table), optimizers=(optimizer,))


class WeightDecayTooStrong(Rule):
    """Weight decay makes the weights collapse, and with them what the network has learned.

    ## What it sees
    The size of each weight matrix from the first look to the last, in an optimizer with weight decay: they shrink to
    a small part of what they were, while the loss does not come down.
    ## Why it hurts
    Every layer multiplies its input by weights that go to zero, so the output no longer depends on the input and
    the gradients of all layers below vanish.
    ## How to fix it
    Lower `weight_decay` to a usual value: 1e-4 to 5e-4 with SGD, 0.01 with AdamW.
    ## When it is not a fault
    Weights that shrink a little while the loss falls are what decay is for. A run that learns well is not reported.
    ## Sources
    I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019. A. Krogh and J. Hertz, "A Simple
    Weight Decay Can Improve Generalization", NIPS 1991.
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
        "too-few-epochs",
        "vanishing-gradients",
        "collapsed-predictions",
        "no-gain-over-baseline",
    )
    reads = ("losses", "updates")

    shrunk = Limit(
        0.4,
        unit="size of the typical weight, last / first",
        why="weights of 53 healthy programs, decayed or not, stayed or grew as they learned (1.0 to 5.5 times)",
    )
    pull = Limit(
        0.5,
        unit="pull of the decay / that of the gradient",
        why="below it the gradients, not the decay, decide where the weights go",
    )
    fewest_looks = Limit(5, unit="looks", why="fewer do not show a trend")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Follow the size of the weights of each optimizer that decays them."""
        progress = progress_of(seen)
        decaying = [(i, each) for i, each in enumerate(seen.optimizers) if _decay_of(each) > 0]
        if not decaying:
            yield self.cannot_tell("no optimizer decays weights")
            return
        if not progress.known or seen.telemetry.steps.size < self.fewest_looks:
            yield self.cannot_tell("the run was too short, or no loss was seen")
            return
        if progress.learns_well or progress.ended_nonfinite:
            return
        for index, optimizer in decaying:
            sizes = _sizes(seen, index)
            if sizes.size and sizes[-1] < self.shrunk and _pull(seen, index) >= self.pull:
                yield self._report(seen, optimizer, sizes, progress)

    def _report(self, seen: History, optimizer: Optimizer, sizes: Numbers, progress: Progress) -> Finding:
        decay = _decay_of(optimizer)
        last = float(sizes[-1])
        steps = seen.telemetry.steps
        shown = f"{last:.0%}" if last >= 0.01 else f"{last:.0e}"
        rate = optimizer.groups[0].get("lr")
        evidence = [
            Evidence(
                "size of the typical weight at the last look, as a share of the first",
                shown,
                "1 or more",
                "sampled, median over the weights",
                Plot(
                    tuple(map(float, steps)),
                    tuple(map(float, sizes)),
                    "size of the weights / first size",
                    (self.shrunk, None),
                    log=True,
                ),
            ),
            loss_evidence(seen, progress),
        ]
        if isinstance(rate, float | int) and (optimizer.kind in DECOUPLED or optimizer.kind == "SGD"):
            taken = 100 * rate * decay
            evidence.insert(
                1, Evidence("share of the weights that decay takes at each step", f"{taken:.2g} %", "0.01 % or less")
            )
        return self.finding(
            f"a weight decay of {decay:g} shrinks the weights to {shown} of their size",
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            place=place_at(optimizer.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"`{optimizer.kind}` pulls every weight towards 0 faster than the gradients build it up; the loss "
            f"{outcome(progress)}.",
            fixes=[_fix(optimizer, decay)],
        )

    bad = Examples(
        lambda: {
            "SGD with 0.5": _shrinking(flat(2.3), 1e-5),
            "AdamW with 50": _shrinking(falling(2.3, 2.05), 0.24, 50.0, "AdamW"),
            "shrunk to just below the limit": _shrinking(flat(2.3), 0.39),
            "Adam, where decay goes into the gradient": _shrinking(flat(2.3), 0.01, 1.0, "Adam"),
            "five looks": replace(
                _shrinking(flat(2.3), 1e-5),
                telemetry=replace(
                    _shrinking(flat(2.3), 1e-5).telemetry,
                    steps=np.arange(5),
                    parameters=_shrinking(flat(2.3), 1e-5).telemetry.parameters[[0, 1, 2, 3, -1]],
                ),
            ),
            "a pull next to the limit": _shrinking(flat(2.3), 0.1, 0.073),
        }
    )
    good = Examples(
        lambda: {
            "a pull just below the limit": _shrinking(flat(2.3), 0.1, 0.070),
            "a usual decay": _shrinking(falling(2.3, 0.1), 1.2, 5e-4),
            "shrinks and learns well": _shrinking(falling(2.3, 0.1), 0.2),
            "stuck, with weights that stay": _shrinking(flat(2.3), 0.98),
            "shrunk to just above the limit": _shrinking(flat(2.3), 0.41),
            "no decay": _shrinking(flat(2.3), 1e-3, 0.0),
            "four looks": replace(
                _shrinking(flat(2.3), 1e-5),
                telemetry=replace(
                    _shrinking(flat(2.3), 1e-5).telemetry,
                    steps=np.arange(4),
                    parameters=_shrinking(flat(2.3), 1e-5).telemetry.parameters[[0, 1, 2, -1]],
                ),
            ),
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
        decay = 0.5  # fix: decay = 5e-4
        opt = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=decay)

        for epoch in range(8):
            for x, y in loader:
                opt.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                opt.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _decay_of(optimizer: Optimizer) -> float:
    """The strongest weight decay of its groups."""
    decays = [group.get("weight_decay", 0.0) for group in optimizer.groups]
    return max((float(each) for each in decays if isinstance(each, float | int)), default=0.0)


def _sizes(seen: History, optimizer: int) -> Numbers:
    """(looks,): size of the typical weight as a share of its first size; empty when it was not measured."""
    weights = weights_by_depth(seen, optimizer)
    if not weights:
        return np.zeros(0)
    sizes = seen.telemetry.parameter("weight_rms")[:, weights].astype(np.float64)
    first = sizes[0]
    return middle(sizes[:, first > 0] / first[first > 0], axis=1) if (first > 0).any() else np.zeros(0)


def _pull(seen: History, index: int) -> float:
    """How strongly the decay pulls at the typical weight, beside the gradient, where it pulls most."""
    optimizer, weights = seen.optimizers[index], weights_by_depth(seen, index)
    decay, rate = _decay_of(optimizer), optimizer.groups[0].get("lr")
    if optimizer.kind in DECOUPLED:
        taken = rate * decay if isinstance(rate, float | int) else float("nan")
        shares = taken / middle(seen.telemetry.parameter("update_ratio")[:, weights].astype(np.float64), axis=1)
    else:
        sizes = seen.telemetry.parameter("weight_rms")[:, weights].astype(np.float64)
        gradients = seen.telemetry.parameter("gradient_rms")[:, weights].astype(np.float64)
        shares = middle(decay * sizes / gradients, axis=1)
    return float(np.max(shares[np.isfinite(shares)], initial=0.0))


def _fix(optimizer: Optimizer, decay: float) -> Fix:
    usual = 0.01 if optimizer.kind in DECOUPLED else 5e-4
    line = optimizer.site.text if optimizer.site else ""
    edit, found = re.subn(r"\bweight_decay\s*=\s*[\w.+-]+", f"weight_decay={usual:g}", line, count=1)
    rate = optimizer.groups[0].get("lr", 0.1)
    made = f"{optimizer.kind}(model.parameters(), lr={rate:g}, weight_decay={usual:g})"
    return Fix(f"Lower it to a usual value:\n{code(edit if found else made)}", edit=edit if found else None)
