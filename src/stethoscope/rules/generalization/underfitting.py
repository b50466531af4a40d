"""A network that learns less of its own training samples than a simple model knows of samples it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log, sqrt
from typing import Any

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Kind, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.samples import Samples
from stethoscope.facts.training import Curve, History
from stethoscope.facts.weights import update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run, with_curve
from stethoscope.rules.heads import CLASSES
from stethoscope.rules.learning import small_plot
from stethoscope.rules.sites import code, place_at

RARE = 0.7
"""With a class as frequent as this, weights for the rare ones cost accuracy on purpose."""
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
NO_PACE = 1e-4
"""Weights that change less than this at a step are a matter of the learning rate."""


@dataclass(frozen=True)
class Match:
    """The network on its training samples beside a simple model on samples that it was not given."""

    of: str
    network: float
    simple: float
    name: str
    error: float
    """Standard error of the difference."""


def _run(
    *, right: float = 0.5, end: float = 1.4, samples: Samples | None = None, validated: float | None = None,
    loss: Any = None, **facts: Any,
) -> History:  # fmt: skip
    """A classifier of ten classes with this loss and training accuracy at its end."""
    seen = run(falling(2.3, end) if loss is None else loss, **facts)
    steps = np.arange(0, 200, 4)
    seen = with_curve(seen, Curve("training accuracy", "accuracy", "training", steps, np.full(50, right)))
    if validated is not None:
        passes = np.array([50, 100, 150, 200])
        seen = with_curve(seen, Curve("validation accuracy", "accuracy", "validation", passes, np.full(4, validated)))
    batches = replace(seen.batches, sizes=np.full(50, 128), steps=steps)
    return replace(seen, samples=(samples or _tested,), batches=batches)


_tested = Samples(
    rows=1200, tested=600, classes=10, majority=0.11, neighbours=0.95, neighbours_chance=0.1, linear=0.9,
    linear_chance=0.1,
)  # fmt: skip


class Underfitting(Rule):
    """The network stays far worse on its own training samples than a simple model is on new ones.

    ## What it sees
    A training loss that came down from guessing, no longer falls, and stays high, with weights that move at a usual
    pace. Beside it the training accuracy at the end (the share of the target explained, for numbers), and what the
    five nearest neighbours and a linear model reach on rows of the same training set that they were not given.
    ## Why it hurts
    What can be known from the inputs is not learned. More epochs or more data of the same kind do not help.
    ## How to fix it
    Look for a narrow place in the network: a layer of a few units through which everything must pass. Widen it, add
    a layer, or take away what holds the weights back (weight decay, dropout, smoothing).
    ## When it is not a fault
    A network that is small on purpose, or one that is trained for something else than the accuracy.
    ## Sources
    I. Goodfellow, Y. Bengio and A. Courville, "Deep Learning", 2016, 5.2 (capacity and underfitting).
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING
    reads = ("losses", "batches", "updates", "samples", "validation")
    to_the_end = True

    fewest_steps = Limit(100, unit="steps", why="quarters of fewer are too noisy to lay side by side")
    behind = Limit(
        0.15, unit="accuracy, or share explained, below the simple model's", why="clear beyond small samples and modes"
    )
    errors = Limit(5, unit="standard errors of that difference", why="two simple models are tried, on many runs")
    still = Limit(
        0.15, unit="fall into the last quarter / the whole fall", why="a healthy run that was far from its end: 0.28"
    )
    pace = Limit(
        3,
        unit="accuracy added to the difference for each such share",
        why="as much may be won by going on as long again",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the end of training with the simple models."""
        progress, curve = progress_of(seen), seen.curve("loss")
        if curve is None or not progress.known or curve.values.size < self.fewest_steps:
            yield self.cannot_tell(f"fewer than {self.fewest_steps:g} values of a training loss were seen")
            return
        tested = [samples for samples in seen.samples if samples.tested]
        if len(tested) != 1 or len([each for each in seen.samples if each.rows]) > 1 or len(seen.optimizers) != 1:
            yield self.cannot_tell("one model with one target for each row is needed, trained by one optimizer")
            return
        if progress.is_stuck or progress.nonfinite_step >= 0 or not progress.chance > 0 or not _moves(seen):
            return
        match = _match(seen, tested[0], progress)
        if match is None:
            return
        quarters = [float(np.median(part)) for part in np.array_split(curve.values, 4)]
        behind = match.simple - match.network
        fall = (quarters[2] - quarters[3]) / (progress.reference - quarters[3])
        needed = max(self.behind, self.errors * match.error) + self.pace * max(fall, 0.0)
        if fall < self.still and behind >= needed:
            yield self._report(seen, progress, match, curve, quarters)

    def _report(self, seen: History, progress: Progress, match: Match, curve: Curve, quarters: list[float]) -> Finding:
        words = "right" if match.of == "accuracy" else "explained"
        narrow = _narrowest(seen)
        where = f" Its narrowest layer inside, `{narrow[0]}`, has {narrow[1]:,} units." if narrow else ""
        return self.finding(
            f"training ends at {match.network:.0%} {words}; {match.name} reach{_es(match)} {match.simple:.0%}",
            place=place_at(curve.site, steps=(0, max(seen.steps - 1, 0)), module=narrow[0] if narrow else None),
            evidence=[
                Evidence(
                    f"{match.of} on the training samples, at the end",
                    f"{match.network:.3f}",
                    f"{match.simple:.3f} or more",
                    f"{match.name}, on rows not given to {'them' if match.name.startswith('5') else 'it'}",
                ),
                Evidence(
                    "training loss, median of each quarter of the run",
                    ", ".join(f"{level:.4g}" for level in quarters),
                    f"near 0 (guessing: {progress.reference:.4g})",
                    plot=small_plot(curve, "training loss", (None, 0.5 * progress.reference)),
                ),
            ],
            cause="The loss came down from guessing and then stayed where it is, though the weights go on moving: the "
            f"network cannot hold what the inputs tell about the targets, or is kept from it.{where}",
            fixes=[
                Fix(
                    "Give it more units, in the narrowest layer first:\n"
                    + code("nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes)")
                ),
                "Then take away what holds it back: weight decay, dropout, label smoothing.",
            ],
            unless="the network is small on purpose, or trained for another measure.",
        )

    bad = Examples(
        lambda: {
            "half of what neighbours name": _run(),
            "a linear model alone is better": _run(samples=replace(_tested, neighbours=0.3)),
            "next to the limit": _run(right=0.7905),
            "next to a still loss": _run(
                right=0.3, loss=[*np.linspace(2.3, 1.8, 100), *flat(1.8, 50, 0), *flat(1.715, 50, 0)]
            ),
            "falls, and is far behind": _run(
                right=0.545, loss=[*np.linspace(2.3, 1.8, 100), *flat(1.8, 50, 0), *flat(1.756, 50, 0)]
            ),
            "100 steps": _run(loss=falling(2.3, 1.4, 100)),
            "few were tested, and clear": _run(
                right=0.5, samples=replace(_tested, tested=100, neighbours=0.745, linear=0.5)
            ),
            "numbers": replace(
                _run(samples=replace(_tested, classes=0, neighbours=0.9, linear=0.8), chance=2.3),
                losses=(replace(run(flat(1.0)).losses[0], function="mse_loss", chance=2.3),),
            ),
        }
    )
    good = Examples(
        lambda: {
            "as good as neighbours": _run(right=0.95, end=0.2),
            "just below the limit": _run(right=0.7975),
            "still falling": _run(
                right=0.3, loss=[*np.linspace(2.3, 1.8, 100), *flat(1.8, 50, 0), *flat(1.7105, 50, 0)]
            ),
            "falls, and is not so far behind": _run(
                right=0.56, loss=[*np.linspace(2.3, 1.8, 100), *flat(1.8, 50, 0), *flat(1.756, 50, 0)]
            ),
            "99 steps": _run(loss=falling(2.3, 1.4, 99)),
            "few were tested": _run(right=0.5, samples=replace(_tested, tested=100, neighbours=0.725, linear=0.5)),
            "simple models do no better": _run(samples=replace(_tested, neighbours=0.5, linear=0.5)),
            "stuck at chance": _run(loss=flat(2.3), right=0.1),
            "hardly moves": _run(updates=1e-6),
            "good in validation, where nothing is dropped": _run(validated=0.94),
            "a loss as low as that of the simple model": _run(end=0.2),
            "a class of its own": _run(samples=replace(_tested, majority=0.9)),
            "no targets": _run(samples=Samples(rows=1200)),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        x = torch.tensor(data.data / 16, dtype=torch.float32)
        y = torch.tensor(data.target)
        order = torch.randperm(len(x))
        train, held_out = order[:1200], order[1200:]
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(x[train], y[train]), batch_size=32, shuffle=True
        )
        model = nn.Sequential(
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, 1),  # fix: nn.Linear(64, 64),
            nn.Tanh(),  # fix: nn.ReLU(),
            nn.Linear(1, 10),  # fix: nn.Linear(64, 10),
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

        for epoch in range(20):
            model.train()
            for features, target in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(features), target)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                score = nn.functional.cross_entropy(model(x[held_out]), y[held_out]).item()
        print(f"loss {score:.4f}")
        """)


def _es(match: Match) -> str:
    return "" if match.name.startswith("5") else "es"


def _moves(seen: History) -> bool:
    """Whether the weights move at a usual pace, in the middle of them and of the looks; True when it was not seen."""
    ratios = update_ratios(seen, weights_by_depth(seen))
    ratios = ratios[np.isfinite(ratios)]
    return not ratios.size or bool(np.median(ratios) >= NO_PACE)


def _match(seen: History, samples: Samples, progress: Progress) -> Match | None:
    """The network beside the better one of the simple models; None where they cannot be compared."""
    loss = seen.main_loss()
    if loss is None:
        return None
    name, simple = max(
        ("5 nearest neighbours", samples.neighbours), ("a linear model", samples.linear), key=lambda each: each[1]
    )
    if not np.isfinite(simple):
        return None
    if not samples.classes:
        if loss.computes != "mse_loss":
            return None
        share = max(simple, 0.0) ** 2
        error = 2 * simple * (1 - share) / sqrt(samples.tested)
        return Match("share of the target's variance explained", 1 - progress.end / progress.chance, share, name, error)
    accuracy = seen.curve("accuracy")
    if loss.computes not in (*CLASSES, *BINARY) or accuracy is None or samples.majority > RARE:
        return None
    late = accuracy.values[-max(3, accuracy.values.size // 4) :]
    right = float(np.mean(late))
    if (held_out := seen.curve("accuracy", "validation")) is not None and held_out.values.size:
        # Dropout, augmentation and mixed samples make training harder than validation.
        right = max(right, float(np.median(held_out.values[-3:])))
    # Right that often, and sure of it in the same measure, an answer has at most this loss.
    wrong = np.clip(1 - simple, 1e-6, 1 - 1e-6)
    affordable = -wrong * log(wrong) - (1 - wrong) * log(1 - wrong) + wrong * log(max(samples.classes - 1, 1))
    if progress.end <= affordable:
        return None
    size = float(np.median(seen.batches.sizes)) if seen.batches.sizes.size else 1.0
    error = sqrt(right * (1 - right) / max(late.size * size, 1) + simple * (1 - simple) / samples.tested)
    return Match("accuracy", right, simple, name, error)


def _narrowest(seen: History) -> tuple[str, int] | None:
    """The linear layer inside, not the last one, with the fewest units, and their number."""
    inside = sorted(
        (layer for layer in seen.layers if layer.kind == "Linear" and layer.order >= 0), key=lambda each: each.order
    )
    sizes = [(layer.output_shape[-1], layer.name) for layer in inside[:-1] if layer.output_shape]
    return (min(sizes)[1], min(sizes)[0]) if sizes else None
