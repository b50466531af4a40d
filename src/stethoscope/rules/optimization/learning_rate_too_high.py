"""Steps that are large against the weights, in a run that does not learn."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Plot, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import ScaleLearningRate
from stethoscope.facts.code import Code
from stethoscope.facts.loops import is_stepped_in_loop
from stethoscope.facts.model import RangeTest
from stethoscope.facts.optimizer_calls import ADAPTIVE, Made, optimizers_of
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History, Optimizer
from stethoscope.facts.weights import OPENING_LOOKS, RECURRENT, Numbers, middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run, tried
from stethoscope.rules.learning import RISEN, loss_evidence, outcome, times
from stethoscope.rules.lines import fitting, place_in
from stethoscope.rules.sites import code, place_at

HEALTHY_PACE = 5e-3
"""Aim of the suggested rate: in healthy runs Adam at 1e-3 and SGD at 0.1 moved weights by 0.2 to 3 % a step."""
LINE_SEARCHING = ("LBFGS",)
"""Optimizers that choose the length of a step themselves."""
GRADIENT_JUMP = 30.0
"""From a gradient this many times the first one on, the pace shows the explosion and no longer the rate."""


@dataclass(frozen=True)
class Pace:
    """How fast the typical weight moves."""

    steps: Numbers
    values: Numbers
    """(looks,): update / weight, median over the weights of an optimizer."""
    opening: float
    """Median over the first looks, up to a jump of the gradient."""
    first: float
    peak: float
    """Largest value; in recurrent networks only up to a jump of the gradient."""


_rates, _losses = np.logspace(-7, 1, 5), np.array([2.3, 2.3, 2.2, 1.5, 9.0])
_leap = np.array([[0.05]] * 8 + [[0.51]] + [[0.05]] * 3)


class LearningRateTooHigh(Rule):
    """The learning rate moves the weights so far in one step that the loss cannot fall.

    ## What it sees
    The change that a step makes to a weight matrix as a share of its size, at the first looks of the run, together
    with a training loss that does not fall, rises, or stops being a number. In code: a rate that is written out, that
    no schedule changes, and that is far above any in use.
    ## Why it hurts
    A gradient is true only near the weights at which it was computed. A step of a tenth of the weights or more
    leaves that neighbourhood: it lands on the other side of the valley, higher than before, or throws units so far
    that no sample activates them again.
    ## How to fix it
    Lower the rate until the first steps move the weights by about 0.1 to 1 %. The finding gives the number.
    Where a high rate is wanted, reach it by a warm-up.
    ## When it is not a fault
    A run that learns well is never reported, however large its steps are. Networks with normalization layers take
    large steps well, because the scale of their weights does not matter.
    ## Sources
    A. Karpathy, CS231n notes, "Ratio of weights:updates" (about 1e-3). M. Wardat et al., DeepDiagnosis, ICSE 2022
    (learning rate x gradient / weight 100 times away from 1e-3). The limits were set on 400 runs of our own.
    """

    severity = Severity.ERROR
    on_trial = True
    explains = (
        "collapsed-predictions",
        "dying-relu",
        "exploding-gradients",
        "loss-not-finite",
        "numerical-instability",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "loss-oscillating",
        "loss-spike",
        "too-few-epochs",
        "saturated-activations",
        "no-gain-over-baseline",
    )
    reads = ("losses", "gradients", "updates")
    treatments = (ScaleLearningRate(0.1), ScaleLearningRate(0.01), ScaleLearningRate(0.001))

    pace = Limit(
        0.1,
        unit="update / weight, median of the first looks",
        why="rates 10 to 1000 times too high showed 0.12 and more; 22 runs stuck for other reasons 0.024 at most; of "
        "106 healthy runs four came above, and learned",
    )
    leap = Limit(
        0.5,
        unit="update / weight, largest typical step",
        why="one step that replaces half of a weight undoes what it had learned; runs stuck for other reasons never "
        "came above 0.06",
    )
    brisk = Limit(
        0.03,
        unit="update / weight, at the first look or as the median of the first looks",
        why="below it the rate was moderate before the leap, and the gradient itself exploded "
        "(0.001 to 0.02 in such runs): another rule",
    )

    learned = Limit(
        0.9,
        unit="share of the way from guessing to a loss of 0",
        why="a run that came half of the way is suspected only, and reported when a smaller rate does far better on a "
        "copy; one that came further has little to gain",
    )

    adaptive = Limit(
        0.5,
        unit="learning rate of Adam and its like",
        why="each step moves each weight by about the rate; 1e-3 is usual, and linear models have been seen with 0.2",
    )
    plain = Limit(10, unit="learning rate of SGD", why="with clipped gradients 20 to 30 are in use, without none is")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each optimizer's pace, unless the run learns well."""
        progress = progress_of(seen)
        if not progress.known and not progress.ended_nonfinite:
            yield self.cannot_tell("the run was too short, or no loss was seen")
            return
        if progress.learns_well and not progress.gain < self.learned:
            return
        for index, optimizer in enumerate(seen.optimizers):
            pace = None if optimizer.kind in LINE_SEARCHING else _pace(seen, index)
            # A single layer has no valley to leap across before the loss itself rises.
            is_shallow = len(weights_by_depth(seen, index)) == 1 and not (
                progress.ended_nonfinite or progress.gain < RISEN
            )
            if pace is None or is_shallow:
                continue
            leaps = pace.peak >= self.leap and max(pace.opening, pace.first) >= self.brisk
            if pace.opening >= self.pace or leaps:
                yield self._report(seen, optimizer, pace)

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the rate by copies that were trained while it rose."""
        test = seen.preflight.range_test
        if test is None:
            yield self.cannot_tell(seen.preflight.why_not("range_test"))
        elif test.present >= test.diverges:
            yield self._report_test(seen, test)

    def _report_test(self, seen: History, test: RangeTest) -> Finding:
        optimizer = seen.optimizers[0] if seen.optimizers else None
        better = test.suggested if test.suggested < test.diverges else test.diverges / 10
        return self.finding(
            f"a learning rate of {test.present:.3g}: the loss rises from {test.diverges:.1g} on",
            sureness=Sureness.SUSPECTED,
            place=place_at(optimizer.site if optimizer is not None else None),
            evidence=[
                Evidence(
                    "learning rate",
                    f"{test.present:.3g}",
                    f"below {test.diverges:.1g}, where the loss of a copy began to rise",
                    "rate raised from step to step (L. N. Smith 2017)",
                    Plot(tuple(np.log10(test.rates)), tuple(map(float, test.losses)), "loss by log10 of the rate"),
                ),
            ],
            cause="At this rate a step leaves the region in which the gradient holds: copies got worse.",
            fixes=[f"Lower the rate, to {better:.1g} or so:\n{code(f'lr={better:.1g}')}"],
            unless="a warm-up leads up to it.",
        )

    def _report(self, seen: History, optimizer: Optimizer, pace: Pace) -> Finding:
        progress = progress_of(seen)
        rate = optimizer.groups[0].get("lr") if optimizer.groups else None
        shown = max(pace.opening, pace.first)
        named = f"a learning rate of {rate:.3g}" if isinstance(rate, float | int) else f"`{optimizer.kind}`"
        share = f"{times(shown)} times" if shown >= 2 else f"{100 * shown:.2g} % of"
        title = f"{named} moves weights by {share} their size a step"
        # The first steps of a check are too few to say what becomes of a loss that falls.
        is_early = seen.preflight.is_check and not (progress.is_stuck or progress.ended_nonfinite)
        return self.finding(
            title if len(title) <= 72 else f"weights move by {share} their size a step",
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            sureness=Sureness.SUSPECTED if progress.learns_well or is_early else Sureness.LIKELY,
            place=place_at(optimizer.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"size of the first updates / size of the weights ({optimizer.kind})",
                    f"{shown:.2g}",
                    "0.001 to 0.01",
                    "CS231n; sampled, median over the weights",
                    Plot(
                        tuple(map(float, pace.steps)),
                        tuple(map(float, pace.values)),
                        "update / weight",
                        (1e-3, 1e-2),
                        log=True,
                    ),
                ),
                loss_evidence(seen, progress),
            ],
            cause=f"Steps of this size leave the region in which the gradient holds; the loss {outcome(progress)}.",
            fixes=_fixes(optimizer, rate, shown),
            unless="the loss is not meant to fall, as in adversarial or reinforcement learning.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the learning rates that are written out."""
        for made in optimizers_of(file):
            adaptive = made.kind in ADAPTIVE
            limit = self.adaptive if adaptive else self.plain
            if made.rate is None or made.rate <= limit or not (adaptive or made.kind == "SGD"):
                continue
            if not adaptive and file.says("Embedding"):
                continue  # each row of a table meets a few samples of a batch, whose gradients are divided by all
            if not file.says("clip_grad", "clipnorm", "clipvalue") and is_stepped_in_loop(file, made.call):
                yield self._written(file, made, limit)

    def _written(self, file: Code, made: Made, limit: float) -> Finding:
        usual = 1e-3 if made.kind in ADAPTIVE else 0.1
        by = "about the rate, whatever its gradient" if made.kind in ADAPTIVE else "the rate times its gradient"
        name = "learning_rate" if made.call.name.startswith("keras") else "lr"
        return self.finding(
            fitting(f"a learning rate of {made.rate:g} is far too high for {made.kind}", "the rate is far too high"),
            sureness=Sureness.LIKELY,
            place=place_in(file, made.call.at),
            evidence=[Evidence(f"learning rate of {made.kind}", f"{made.rate:g}", f"{usual:g}; {limit:g} at most")],
            cause=f"A step of {made.kind} moves each weight by {by}: weights, which are mostly smaller than 0.1, are "
            "thrown far from where the gradient was computed.",
            fixes=["Begin with the usual one:\n" + code(f"{made.kind}(..., {name}={usual:g})")],
            unless="a program changes the rate elsewhere.",
        )  # fmt: skip

    bad = Examples(
        lambda: {
            "Adam at a rate of 1: stuck above guessing": run(flat(2.36), updates=0.18, rate=1.0, kind="Adam"),
            "a pace next to the limit": run(flat(2.31), updates=0.102),
            "moderate at first, then half of the weights in one step": run(flat(2.31), updates=_leap, rate=0.5),
            "a leap after a pace next to the limit": run(flat(2.31), updates=np.where(_leap > 0.5, 2.0, 0.0306)),
            "the loss rises a thousandfold": run([2.3, *flat(2300.0)], updates=3.0, rate=30.0),
            "the loss becomes NaN within ten steps": run([2.3, 9.0, 4e5, *[np.nan] * 40], updates=3.0, rate=100.0),
            "copies got worse below it": tried(range_test=RangeTest(_rates, _losses, 0.1, 1e-3, 0.02)),
            "nothing ever fell": tried(range_test=RangeTest(_rates, _losses, 0.02, math.nan, 0.02)),
            "learns, and could do better": run(falling(2.31, 0.215), updates=0.16, rate=0.1, kind="Adam"),
            "learns a little, and slowly": run(falling(2.31, 1.9), updates=0.16, rate=0.1, kind="Adam"),
        }
    )
    good = Examples(
        lambda: {
            "a usual rate": run(falling(2.31, 0.1), updates=0.01, rate=1e-3, kind="Adam"),
            "copies got worse above it": tried(range_test=RangeTest(_rates, _losses, 0.01, 1e-3, 0.02)),
            "copies never got worse": tried(range_test=RangeTest(_rates, _losses, 0.1, 1e-3)),
            "a high rate that learns well": run(falling(2.31, 0.2), updates=0.4, rate=3.0),
            "stuck for another reason, just below the limit": run(flat(2.31), updates=0.098),
            "stuck, with a step just below the limit": run(flat(2.31), updates=np.where(_leap > 0.5, 0.49, 0.05)),
            "a gradient that explodes at a moderate rate": run(flat(2.31), updates=np.where(_leap > 0.5, 2.0, 0.0294)),
            "too short to say": run(flat(2.31, 12), updates=0.3),
            "a single layer on labels that mean nothing": run(flat(2.32), updates=0.3, weights=1, rate=0.5),
            "an optimizer that searches along a line": run(flat(2.31), updates=2.5, rate=1.0, kind="LBFGS"),
            "an explosion at the second step, after a small first one": run(
                [1.0, *flat(1e9)], updates=np.array([[0.004]] + [[50.0]] * 11), norms=[1.0, *[1e6] * 11]
            ),
        }
    )
    bad_code = {
        "Adam": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters(), lr=1)  # bad
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
        "Adam next to the limit, in Keras": """
            from tensorflow import keras

            def train(model):
                model.compile(keras.optimizers.Adam(learning_rate=0.52), loss="mse")  # bad
            """,
        "SGD": """
            rate = 11
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=rate)  # bad
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
    }
    good_code = {
        "high, and in use": """
            model = nn.Linear(3, 2)
            first = torch.optim.Adam(model.parameters(), lr=0.5)
            second = torch.optim.SGD(model.parameters(), 10.0)
            third = torch.optim.Adadelta(model.parameters(), lr=100.0)
            for x, y in torch.load("data"):
                F.cross_entropy(model(x), y).backward()
                first.step()
                second.step()
                third.step()
            """,
        "a factor of a schedule": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.05 * min(1, step / 4000))
            """,
        "a table of embeddings": """
            table = nn.Embedding(1000, 8)
            optimizer = torch.optim.SGD(table.parameters(), lr=40.0)
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.mse_loss(table(x).sum(1), y).backward()
                optimizer.step()
            """,
        "an image, and clipped gradients": """
            def paint(image, model):
                optimizer = torch.optim.Adam([image], lr=1.0)
                optimizer = torch.optim.SGD(model.parameters(), lr=30.0)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
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
        opt = torch.optim.Adam(model.parameters(), lr=1.0)  # fix: opt = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(8):
            for x, y in loader:
                opt.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                opt.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _pace(seen: History, optimizer: int) -> Pace | None:
    ratios = update_ratios(seen, weights_by_depth(seen, optimizer))
    values = middle(ratios, axis=1) if ratios.size else np.zeros(0)
    measured = np.flatnonzero(np.isfinite(values))
    if not measured.size:
        return None
    steps = seen.telemetry.steps[measured].astype(np.float64)
    values = values[measured]
    calm = until = values.size
    norms = seen.curve("norm")
    if norms is not None and norms.values.size:
        jumps = norms.steps[~(norms.values <= GRADIENT_JUMP * norms.values[0])]
        if jumps.size:
            calm = max(1, int(np.searchsorted(steps, jumps[0])))
    # The loss of a recurrent network has cliffs: a leap there is the gradient's doing at any rate (Pascanu 2013).
    if any(layer.kind in RECURRENT for layer in seen.layers):
        until = calm
    opening = float(np.median(values[: min(calm, OPENING_LOOKS)]))
    return Pace(steps, values, opening, float(values[0]), float(values[:until].max()))


def _fixes(optimizer: Optimizer, rate: object, shown: float) -> list[Fix]:
    clip = Fix(
        "Or keep the rate and reach it slowly, with a warm-up after each `optimizer.step()`:\n"
        + code(
            "warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=500)",
            "warmup.step()",
        )
    )
    if not isinstance(rate, float | int):
        return [Fix("Lower the learning rate: divide `lr` by 10 until the loss falls."), clip]
    lower = round_down(rate * HEALTHY_PACE / shown)
    line = optimizer.site.text if optimizer.site else ""
    edit, found = re.subn(r"\blr\s*=\s*[\d.eE+-]+", f"lr={lower:g}", line, count=1)
    shown_line = edit if found else f"{optimizer.kind}(model.parameters(), lr={lower:g})"
    text = f"Lower the rate, so that the first steps move the weights by about 0.5 %:\n{code(shown_line)}"
    return [Fix(text, edit=edit if found else None), clip]


def round_down(value: float) -> float:
    """The next smaller of 1, 2, 3, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(digit for digit in (1, 2, 3, 5) if digit * power <= value * 1.0001) * power
