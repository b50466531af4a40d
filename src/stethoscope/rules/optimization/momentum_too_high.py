"""Momentum that remembers so long that the optimizer overshoots."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Plot, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import NoMomentum, UsualMomentum
from stethoscope.facts.code import Code
from stethoscope.facts.optimizer_calls import optimizers_of
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Curve, Doubles, History, Optimizer
from stethoscope.facts.weights import Numbers, middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome
from stethoscope.rules.lines import fitting, place_in
from stethoscope.rules.sites import code, place_at

USUAL = 0.9
"""The momentum that nearly everybody uses."""


def _rolling(loss: ArrayLike, momentum: Any = 0.999, growth: float = 20.0, kind: str = "SGD") -> History:
    """Updates that grow evenly to a multiple of the first, as gradients of one direction add up."""
    made = run(loss, updates=0.003 * np.geomspace(1, growth, 12)[:, None], kind=kind, rate=0.05)
    name = "momentum" if kind == "SGD" else "betas"
    return replace(made, optimizers=(replace(made.optimizers[0], groups=({"lr": 0.05, name: momentum},)),))


def _slow(seen: History) -> History:
    """The same, at a rate as long a memory asks for."""
    group = {**seen.optimizers[0].groups[0], "lr": 0.01}
    return replace(seen, optimizers=(replace(seen.optimizers[0], groups=(group,)),))


LOST, WAY = 3.0, 0.2
"""A loss that climbs to three times its best stretch, and a fifth of the whole way above it, was lost again."""
NOT_BACK = 1.5
"""A loss that ends at one and a half times its best stretch has not come back from such a climb."""
FAR = 3.0
"""Rate / (1 - momentum) of SGD, the step that a lasting gradient comes to: 1 in the usual recipes (0.1 with 0.9)."""
STRETCHES = 20
"""Of a curve, each for its median; at least 5 values each."""


class MomentumTooHigh(Rule):
    """The optimizer's memory is so long that it rolls past the minimum and cannot turn.

    ## What it sees
    The momentum (or the first beta of Adam), with updates that keep growing from look to look while the gradients
    stay as they are, in a run whose loss does not come down, comes down and climbs again, or stands still less than
    half of the way down. In code: a momentum of 1 or more that is written out.
    ## Why it hurts
    A momentum m adds up about 1 / (1 - m) gradients: 10 with 0.9, 1,000 with 0.999. Long after the minimum is passed,
    the old gradients still carry the weights on.
    ## How to fix it
    Use 0.9. When it is raised to 0.99, lower the learning rate tenfold.
    ## When it is not a fault
    High momentum with a learning rate to match, as in some self-supervised training. A run that learns well is not
    reported.
    ## Sources
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013. G. Goh, "Why
    Momentum Really Works", Distill 2017.
    """

    treatments = (UsualMomentum(), NoMomentum())
    explains = (
        "dying-relu",
        "exploding-gradients",
        "learning-rate-too-high",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "loss-not-finite",
        "loss-oscillating",
        "loss-spike",
        "numerical-instability",
        "collapsed-predictions",
        "no-gain-over-baseline",
    )
    on_trial = True
    reads = ("losses", "updates")

    memory = Limit(
        0.97,
        unit="momentum",
        why="adds up 33 gradients; recipes in wide use stay at 0.9 to 0.95, the memory of 10 to 20",
    )
    growth = Limit(
        4,
        unit="largest update / weight, over the first",
        why="4.8 and more where 0.98 to 0.999 went wrong; a memory that is given no time to fill up does no harm",
    )

    learned = Limit(
        0.9,
        unit="share of the way from guessing to a loss of 0",
        why="a run that came less far is suspected, and reported when a usual momentum does far better on a copy",
    )

    endless = Limit(1.0, unit="momentum that is written out", why="with 1 no gradient is ever let go")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each optimizer with a long memory."""
        progress = progress_of(seen)
        if not (progress.known or progress.ended_nonfinite):
            yield self.cannot_tell("the run was too short, or no loss was seen")
            return
        curve = seen.curve("loss")
        if curve is None:
            return
        for index, optimizer in enumerate(seen.optimizers):
            momentum, paces = momentum_of(optimizer), _paces(seen, index)
            if momentum < self.memory or not paces.size or not paces[0] > 0:
                continue
            stands = _step(optimizer, momentum) >= FAR and _stands(curve, progress)
            fails = not progress.learns_well or stands or _was_lost(curve, progress)
            if fails and paces.max() >= self.growth * paces[0]:
                yield self._report(seen, optimizer, momentum, paces, progress, Sureness.LIKELY)
            elif not progress.gain >= self.learned:
                yield self._report(seen, optimizer, momentum, paces, progress, Sureness.SUSPECTED)

    def _report(
        self,
        seen: History,
        optimizer: Optimizer,
        momentum: float,
        paces: Numbers,
        progress: Progress,
        sureness: Sureness,
    ) -> Finding:
        memory = round(1 / (1 - momentum)) if momentum < 1 else 0
        adds = f"adds up about {memory:,} gradients" if memory else "never lets go of a gradient"
        return self.finding(
            f"a momentum of {momentum:g} {adds}",
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            sureness=sureness,
            place=place_at(optimizer.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "steps that momentum remembers, 1 / (1 - momentum)",
                    f"{memory:,}" if memory else "all",
                    "10 (momentum 0.9)",
                ),
                Evidence(
                    "size of the largest updates, over that of the first",
                    f"{paces.max() / paces[0]:.2g} times",
                    f"below {self.growth:g}",
                    "sampled, median over the weights",
                    Plot(tuple(map(float, range(paces.size))), tuple(map(float, paces)), "update / weight, by look"),
                ),
                loss_evidence(seen, progress),
            ],
            cause="Old gradients go on carrying the weights long after they have stopped being right; the loss "
            + (f"{outcome(progress)}." if progress.is_stuck else _course(progress)),
            fixes=[_fix(optimizer)],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the momentum that is written out."""
        for made in optimizers_of(file):
            if made.momentum is None or made.momentum < self.endless:
                continue
            yield self.finding(
                fitting(
                    f"a momentum of {made.momentum:g} lets {made.kind} forget no gradient", "the momentum is 1 or more"
                ),
                sureness=Sureness.CERTAIN,
                place=place_in(file, made.call.at),
                evidence=[Evidence(f"momentum of {made.kind}", f"{made.momentum:g}", "0.9")],
                cause="With a momentum of 1 the steps are the sum of all gradients so far: they never shrink, and the "
                "weights swing through the minimum without end.",
                fixes=["Use the usual one:\n" + code(f"{made.kind}(..., momentum=0.9)")],
            )

    bad = Examples(
        lambda: {
            "0.999 with SGD": _rolling([*falling(2.3, 0.4, 60), *flat(2.6, 140)]),
            "next to the limit": _rolling(flat(2.4), momentum=0.97),
            "updates that grow next to the limit": _rolling(flat(2.4), growth=4.1),
            "learned, lost, and half-way back": _rolling([*falling(2.3, 0.1, 100), *flat(1.2, 60), *flat(0.3, 40)]),
            "stands half of the way down": _rolling([*falling(2.3, 1.4, 60), *flat(1.4, 70), *flat(1.41, 70)]),
            "learned, and lost a part of it": _rolling([*falling(2.3, 0.1, 120), *flat(0.9, 80)]),
            "0.995 in the betas of Adam": _rolling(flat(2.4), "0.995, 0.999", kind="Adam"),
            "0.999, and stays where it came to": _rolling([*falling(2.3, 0.3, 120), *flat(0.5, 80)]),
            "updates that stay as they are": _rolling(flat(2.4), growth=1.5),
            "updates that grow a little less": _rolling(flat(2.4), growth=3.9),
            "stands half of the way down, at a rate to match": _slow(
                _rolling([*falling(2.3, 1.4, 60), *flat(1.4, 70), *flat(1.41, 70)], momentum=0.975)
            ),
            "less than half of the way down, and still falling": _rolling(2.3 - np.arange(200) * 0.005),
            "nine tenths of the way, nearly": _rolling(falling(2.3, 0.215)),
            "no number in the end": _rolling([2.3] * 20 + [np.nan] * 180),
        }
    )
    good = Examples(
        lambda: {
            "0.9": _rolling(flat(2.4), momentum=0.9),
            "just below the limit": _rolling(flat(2.4), momentum=0.969),
            "0.999, and learns well": _rolling(falling(2.3, 0.2)),
            "a climb that it came back from": _rolling([*falling(2.3, 0.1, 100), *flat(1.2, 40), *flat(0.1, 60)]),
            "usual betas": _rolling(flat(2.4), "0.9, 0.999", kind="Adam"),
        }
    )
    bad_code = {
        "one": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=1)  # bad
            """,
        "in Keras": """
            from keras.optimizers import SGD

            optimizer = SGD(0.01, momentum=1.0, nesterov=True)  # bad
            """,
    }
    good_code = {
        "a schedule, which has no momentum": """
            from tensorflow import keras

            rate = keras.optimizers.schedules.PolynomialDecay(0.1, 200, 0.001, power=0.5)
            optimizer = keras.optimizers.Adam(rate)
            """,
        "high": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.98)
            """,
        "that of batch normalization": """
            layer = nn.BatchNorm1d(8, momentum=1.0)
            """,
    }
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
        momentum = 0.999  # fix: momentum = 0.9
        opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum)

        for epoch in range(8):
            for x, y in loader:
                opt.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                opt.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def momentum_of(optimizer: Optimizer) -> float:
    """The longest memory of its groups: `momentum`, or the first of `betas`."""
    found = [0.0]
    for group in optimizer.groups:
        plain, betas = group.get("momentum", 0.0), group.get("betas", "")
        if isinstance(plain, float | int):
            found.append(float(plain))
        if isinstance(betas, str) and betas:
            found.append(float(betas.split(",")[0]))
    return max(found)


def _step(optimizer: Optimizer, momentum: float) -> float:
    """What the steps along a gradient that lasts come to, for one of its size; 0 where it is not plain SGD."""
    rate = optimizer.groups[0].get("lr") if optimizer.groups and optimizer.kind == "SGD" else 0.0
    return float(rate) / (1 - momentum) if isinstance(rate, float | int) and momentum < 1 else 0.0


def _paces(seen: History, optimizer: int) -> Numbers:
    """(looks,): update / weight of the typical weight, at the looks where it was measured."""
    ratios = update_ratios(seen, weights_by_depth(seen, optimizer))
    values = middle(ratios, axis=1) if ratios.size else np.zeros(0)
    return np.asarray(values[np.isfinite(values)])


def _stretches(curve: Curve) -> Doubles:
    """Medians of consecutive stretches of the curve."""
    finite = curve.values[np.isfinite(curve.values)]
    parts = np.array_split(finite, max(1, min(STRETCHES, finite.size // 5)))
    return np.array([np.median(part) for part in parts if part.size])


def _was_lost(curve: Curve, progress: Progress) -> bool:
    """Whether the loss climbed far above where it had been already, and did not come back to it."""
    levels = _stretches(curve)
    lowest = np.minimum.accumulate(levels)
    climbed = (levels >= LOST * lowest) & (levels - lowest >= WAY * progress.reference) & (lowest > 0)
    return bool(climbed.any() and progress.end >= NOT_BACK * progress.best)


def _stands(curve: Curve, progress: Progress) -> bool:
    """Whether the loss has not fallen in the second half of the run, less than half of the way down."""
    levels = _stretches(curve)
    half = levels[levels.size // 2 :]
    if progress.is_good or not progress.gain < 0.5 or half.size < 6:
        return False
    before, after = np.array_split(half, 2)
    return bool(np.median(after) >= np.median(before))


def _course(progress: Progress) -> str:
    """What became of a loss that did come down, as the end of a sentence that begins with `the loss`."""
    if progress.end >= NOT_BACK * progress.best:
        return f"rose again after {progress.best:.3g}."
    return f"stays at {progress.end:.3g}."


def _fix(optimizer: Optimizer) -> Fix:
    line = optimizer.site.text if optimizer.site else ""
    edit, found = re.subn(r"\bmomentum\s*=\s*[\w.]+", f"momentum={USUAL:g}", line, count=1)
    rate = optimizer.groups[0].get("lr", 0.01)
    setting = "betas=(0.9, 0.999)" if "betas" in optimizer.groups[0] else f"momentum={USUAL:g}"
    made = f"{optimizer.kind}(model.parameters(), lr={rate:g}, {setting})"
    return Fix(f"Use the usual memory of ten steps:\n{code(edit if found else made)}", edit=edit if found else None)
