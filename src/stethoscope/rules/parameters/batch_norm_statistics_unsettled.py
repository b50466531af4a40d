"""Running statistics of batch normalization that have not caught up with the batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Plot, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.modes import losses_of
from stethoscope.facts.norms import BatchNorm
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import Batches, Curve, History, Layer, ValidationPass
from stethoscope.rules.examples import falling, run, with_curve
from stethoscope.rules.sites import code, place_at

LAST_LOOKS = 3
KERAS_DEFAULT = 0.01  # in torch's words


def _run(
    gap: ArrayLike,
    validated: float | None = 1.2,
    steps: int = 200,
    momentum: float = 0.001,
    rows: int = 64,
    asked: bool = False,
) -> History:
    """A classifier with one batch normalization, that learned; `gap` is the gap at its last looks.

    `asked` is for one whose answers in eval mode were taken without a loss.
    """
    seen = run(falling(2.31, 0.07, steps))
    looks = np.array([5, 40, 90, 150])
    gaps = np.r_[0.7, np.resize(np.asarray(gap, np.float64), 3)]
    norm = BatchNorm(len(seen.layers), momentum, True, looks, np.full(4, rows), gaps, drift=0.1)
    seen = replace(seen, layers=(*seen.layers, Layer("1", "BatchNorm1d", order=1)), norms=(norm,))
    seen = replace(seen, batches=Batches(sizes=np.full(4, rows)))
    if asked:
        seen = replace(seen, validation=(ValidationPass(steps, 1, 0),))
    if validated is None:
        return seen
    passes = np.array([50, 100, 150, 200]) * steps // 200
    return with_curve(seen, Curve("validation loss", "loss", "validation", passes, np.full(4, validated)))


class BatchNormStatisticsUnsettled(Rule):
    """The running statistics that batch normalization evaluates with are far from the batches'.

    ## What it sees
    Running mean and variance beside those of the batches that train, at the last looks, and a validation loss that is
    clearly above the training loss of the same time; where none was heard, how much of their start is left in them. Or
    a momentum with which they are those of the last batch alone.
    ## Why it hurts
    Training normalizes with the batch, evaluation with the running statistics. They start at mean 0 and variance 1
    and move by `momentum` a step: with 0.001, a thousand steps leave a third of that start in them. A good network
    then looks bad, in evaluation only. With 0.99, evaluation depends on what the last batch held.
    ## How to fix it
    Use the default momentum of 0.1 (PyTorch's is the share of the *new* batch: Keras's 0.99 is 0.01 here), train for
    more steps, or compute the statistics anew after training.
    ## When it is not a fault
    In the first steps of every run. It is a note without a pass in eval mode late in the run, and with Keras's default.
    ## Sources
    S. Ioffe and C. Szegedy, ICML 2015. PyTorch documentation, `torch.nn.BatchNorm2d` (momentum),
    `torch.optim.swa_utils.update_bn`.
    """

    explains = ("overfitting", "train-eval-mismatch", "no-gain-over-baseline")
    reads = ("losses", "activations", "validation")

    gap = Limit(
        0.45,
        unit="size of the difference that evaluation makes / size of a normalized value",
        why="a momentum of 0.1 shows 0 to 0.1 after 80 steps, at high rates too; 0.001 still 0.6 after 150",
    )
    worse = Limit(
        0.2,
        unit="validation loss above training loss / what guessing gives",
        why="below it evaluation does not suffer, whatever the statistics",
    )
    left = Limit(
        0.2,
        unit="share of the start that is left in the statistics at the end",
        why="with that and a gap, evaluation is off whether its loss was heard or not; 0.1 leaves 0.04 after 30 steps",
    )
    hasty = Limit(0.9, unit="momentum", why="with it, nine tenths of the statistics are one batch's: Keras's default")
    small_batch = Limit(
        128,
        unit="samples in a batch, where no validation loss was heard",
        why="the mean of 128 is off by a tenth of the spread by chance, which evaluation hardly feels",
    )
    fewest_steps = Limit(30, unit="steps", why="statistics of every run start far off")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the layer whose statistics are farthest off, by its last looks."""
        norms = [n for n in seen.norms if n.keeps_statistics and np.isfinite(n.gaps).sum() >= LAST_LOOKS]
        progress = progress_of(seen)
        if not norms or seen.steps < self.fewest_steps or not progress.known:
            yield self.cannot_tell("no batch normalization was seen in train mode for long enough")
            return
        off = [n for n in norms if _late_gap(n) >= self.gap]
        hasty = [n for n in norms if n.momentum >= self.hasty]
        if not off and not hasty:
            return
        sides = losses_of(seen)
        main = seen.main_loss()
        # The best constant answer to an image is the mean image.
        reference = float(np.fmin(progress.reference, np.nan if main is None else main.chance_by_column))
        losses = None
        if sides is not None:
            training, validation = (float(np.median(v[-LAST_LOOKS:])) for v in (sides.training, sides.validation))
            if validation - training < self.worse * reference:
                return
            losses = training, validation
        if off:
            worst = max(off, key=_late_gap)
            # What the script makes of its answers was not heard: that evaluation suffers is known from the numbers.
            is_certain = _left(worst, seen.steps) >= self.left and _evaluates(seen)
            severity = _severity(losses, reference, Severity.WARNING if is_certain else Severity.NOTE)
            if seen.framework == "keras" and abs(worst.momentum - KERAS_DEFAULT) < 1e-6:
                severity = Severity.NOTE  # nobody chose it, and a few hundred steps more settle it
            yield self._report(seen, worst, len(off), losses, severity)
            return
        sizes = seen.batches.sizes
        is_small = bool(sizes.size) and float(np.median(sizes)) < self.small_batch and _evaluates(seen)
        severity = _severity(losses, reference, Severity.WARNING if is_small else Severity.NOTE)
        yield self._report_hasty(seen, hasty, losses, severity)

    def _report_hasty(
        self, seen: History, hasty: list[BatchNorm], losses: tuple[float, float] | None, severity: Severity
    ) -> Finding:
        norm = hasty[0]
        layer, sizes = seen.layers[norm.layer], seen.batches.sizes
        evidence = [
            Evidence("momentum", f"{norm.momentum:g}", "0.1", "PyTorch's is the share of the new batch"),
            *([Evidence("batch normalization layers with it", len(hasty), 0)] if len(hasty) > 1 else []),
            *([Evidence("samples in the smallest batch seen", int(sizes.min()), "statistics of many batches")]
              if sizes.size else []),
            *_loss_evidence(losses),
        ]  # fmt: skip
        return self.finding(
            f"running statistics of `{layer.name}` are those of the last batch alone"[:72],
            severity=severity,
            place=place_at(None, steps=(int(norm.steps[0]), max(seen.steps - 1, 0)), module=layer.name),
            evidence=evidence,
            cause=f"With a momentum of {norm.momentum:g}, each batch replaces {norm.momentum:.0%} of the running "
            "statistics, so evaluation normalizes with what the last batch happened to hold.",
            fixes=[
                "Keras's momentum is the share that stays, PyTorch's the share that is new:\n"
                + code(
                    "layers.BatchNormalization(momentum=0.9)"
                    if seen.framework == "keras"
                    else f"nn.{layer.kind}(channels, momentum={max(1 - norm.momentum, 0.01):.2g})"
                )
            ],
        )

    def _report(
        self, seen: History, worst: BatchNorm, count: int, losses: tuple[float, float] | None, severity: Severity
    ) -> Finding:
        layer = seen.layers[worst.layer]
        gap = _late_gap(worst)
        off = f"{gap:.0%}" if gap < 2 else f"{gap:.1f} times their size"
        compared = np.isfinite(worst.gaps)
        plot = Plot(
            tuple(map(float, worst.steps[compared])),
            tuple(map(float, worst.gaps[compared])),
            "gap between running statistics and the batch's",
            (0.0, 0.2),
        )
        evidence = [
            Evidence(
                f"normalized values of `{layer.name}`: evaluation off by, of their size",
                off,
                "below 20 %",
                f"median of the last {LAST_LOOKS} looks, the batch's own noise taken off",
                plot,
            ),
            *([Evidence("batch normalization layers in that state", count, 0)] if count > 1 else []),
        ]
        if worst.momentum == worst.momentum:
            evidence.append(Evidence("momentum", f"{worst.momentum:g}", "0.1", "PyTorch's default"))
        evidence += _loss_evidence(losses)
        left = _left(worst, seen.steps)
        why = (
            f"With a momentum of {worst.momentum:g}, {seen.steps:,} steps leave {left:.0%} of their start in them"
            if left > 0.05
            else "The batches' statistics move faster than the running ones follow"
        )
        return self.finding(
            f"running statistics of `{layer.name}` are off by {off}"[:72],
            severity=severity,
            place=place_at(None, steps=(int(worst.steps[0]), max(seen.steps - 1, 0)), module=layer.name),
            evidence=evidence,
            cause=f"{why}, so evaluation normalizes with other numbers than training does.",
            fixes=[
                "Let the statistics follow:\n" + code("layers.BatchNormalization(momentum=0.9)"),
            ]
            if seen.framework == "keras"
            else [
                f"Let the statistics follow:\n{code(f'nn.{layer.kind}(channels, momentum=0.1)')}",
                "Or compute them anew after training:\n" + code("torch.optim.swa_utils.update_bn(train_loader, model)"),
            ],
        )

    bad = Examples(
        lambda: {
            "a momentum of 0.001": _run(0.6),
            "a gap next to the limit": _run(0.46),
            "a validation loss next to the limit": _run(0.6, 0.5),
            "never validated": _run(0.6, None),
            "a usual momentum, and a network that moves": _run(0.6, momentum=0.1),
            "the default of Keras": replace(_run(0.6, momentum=0.01), framework="keras"),
            "all batches count alike": _run(0.6, momentum=float("nan")),
            "thirty steps": _run(0.6, 2.2, steps=30),
            "judged by its answers alone": _run(0.6, None, asked=True),
            "a fifth of the start is left": _run(0.6, None, momentum=0.0079, asked=True),
            "a little less is left": _run(0.6, None, momentum=0.0082, asked=True),
            "the last batch alone": _run(0.0, 2.0, momentum=0.99, rows=8),
            "nearly the last batch alone": _run(0.0, None, momentum=0.91, asked=True),
            "the last batch alone, of some size": _run(0.0, None, momentum=0.99, rows=126, asked=True),
            "the last batch alone, of more": _run(0.0, None, momentum=0.99, rows=130, asked=True),
        }
    )
    good = Examples(
        lambda: {
            "caught up": _run(0.05),
            "a gap just below the limit": _run(0.44),
            "off, and evaluation does not suffer": _run(0.6, 0.475),
            "was off, and has caught up": _run([0.6, 0.1, 0.1]),
            "29 steps": _run(0.6, 2.2, steps=29),
            "mostly the last batch": _run(0.0, None, momentum=0.89, asked=True),
            "the last batch alone, which is enough": _run(0.0, 0.1, momentum=0.99),
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
        order = torch.randperm(len(images))
        train, held_out = order[:1400], order[1400:]
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images[train], labels[train]), batch_size=64, shuffle=True
        )

        def block(inputs, outputs):
            norm = nn.BatchNorm1d(outputs, momentum=0.001)  # fix: norm = nn.BatchNorm1d(outputs)
            return nn.Sequential(nn.Linear(inputs, outputs), norm, nn.ReLU())

        model = nn.Sequential(block(64, 64), block(64, 64), block(64, 64), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(8):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                score = nn.functional.cross_entropy(model(images[held_out]), labels[held_out]).item()
        print(f"loss {score:.4f}")
        """)


def _severity(losses: tuple[float, float] | None, reference: float, otherwise: Severity) -> Severity:
    """An error where evaluation loses half of what training has learned, or more; `otherwise` without losses."""
    if losses is None:
        return otherwise
    return Severity.ERROR if losses[1] - losses[0] >= 0.5 * reference else Severity.WARNING


def _loss_evidence(losses: tuple[float, float] | None) -> list[Evidence]:
    if losses is None:
        return []
    shown = f"{losses[0]:.3g} / {losses[1]:.3g}"
    return [Evidence("training loss / validation loss, at the same steps", shown, "alike")]


def _left(norm: BatchNorm, steps: int) -> float:
    """Share of what the statistics started with that is still in them; 0 when all batches count alike."""
    return float((1 - norm.momentum) ** steps) if norm.momentum == norm.momentum else 0.0


def _evaluates(seen: History) -> bool:
    """Whether a network was asked in eval mode in the later half of the run."""
    return any(p.step * 2 >= seen.steps and p.in_train_mode < p.forwards for p in seen.validation)


def _late_gap(norm: BatchNorm) -> float:
    known = norm.gaps[np.isfinite(norm.gaps)]
    return float(np.median(known[-LAST_LOOKS:]))
