"""A validation loss that rises while the training loss goes on falling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Kind, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import Curve, Doubles, History, ValidationPass
from stethoscope.rules.examples import falling, run, with_curve
from stethoscope.rules.learning import small_plot
from stethoscope.rules.sites import code, place_at

FEWEST_PASSES = 5
LATE_PASSES = 3
"""The state at the end is the median of so many passes."""


@dataclass(frozen=True)
class Turn:
    """Where validation was best, and what both losses did after it."""

    best_step: int
    best: float
    late: float
    noise: float
    scale: float
    """Where learning began: how much loss there was to take away."""
    train_then: float
    train_now: float

    @property
    def rise(self) -> float:
        """Of the validation loss, as a share of what there was to learn."""
        return (self.late - self.best) / self.scale

    @property
    def fall(self) -> float:
        """Of the training loss since then, as a share of its value then."""
        return (self.train_then - self.train_now) / abs(self.train_then) if self.train_then else 0.0


def _validated(*values: float, training: ArrayLike | None = None, accuracy: float | None = None) -> History:
    """A run of 400 steps with these validation losses; the last three passes have this accuracy, those before 0.9."""
    seen = run(falling(1.0, 0.05, 400) if training is None else training, chance=1.0)
    steps = np.arange(1, len(values) + 1) * (400 // len(values))
    seen = with_curve(seen, Curve("validation loss", "loss", "validation", steps, np.array(values)))
    if accuracy is None:
        return seen
    right = np.array([0.9] * (len(values) - LATE_PASSES) + [accuracy] * LATE_PASSES)
    return with_curve(seen, Curve("validation accuracy", "accuracy", "validation", steps, right))


def _of_50(seen: History) -> History:
    return replace(seen, validation=tuple(ValidationPass(i, 1, 0, loss_calls=1, samples=50) for i in range(8)))


def _ripple(size: float) -> list[float]:
    """Nine validation losses about 0.7 that go up and down."""
    return [0.7 + size * (-1) ** i for i in range(9)]


_best = (1.0, 0.7, 0.6, 0.5, 0.5)


class Overfitting(Rule):
    """The validation loss has risen clearly above its best while the training loss went on falling.

    ## What it sees
    The loss of each validation pass: its best, and the median of the last three passes, beside what the training
    loss did between them.
    ## Why it hurts
    From the best pass on the network memorizes what is particular to the training samples. The weights at the end
    are worse on new data than those of a while ago, and the training so far was partly wasted.
    ## How to fix it
    Keep the weights of the best pass (early stopping). To go lower: more data or augmentation, weight decay,
    dropout, a smaller network.
    ## When it is not a fault
    Classifiers grow surer of themselves: their validation loss may rise while the accuracy stays at its best, but for a
    few samples. That is a note.
    ## Sources
    L. Prechelt, "Early Stopping - But When?", 1998. C. Guo et al., "On Calibration of Modern Neural Networks", ICML
    2017 (loss rises, accuracy does not).
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING
    reads = ("losses", "validation")
    from_curves = True
    to_the_end = True

    rise = Limit(
        0.1,
        unit="rise of the validation loss above its best / loss at which learning began",
        why="healthy runs ended up to 0.05 above their best, small networks trained ten times too long 0.16 and more; "
        "a share of the best loss would alarm where that is near 0",
    )
    noises = Limit(
        3,
        unit="rise / noise of the validation loss from pass to pass",
        why="the best of twenty noisy values lies two deviations below their mean",
    )
    fall = Limit(
        0.1,
        unit="fall of the training loss since the best pass",
        why="where both losses rise the training itself went wrong, and it is not memorizing",
    )
    accuracy_lost = Limit(
        0.02, unit="accuracy below its best", why="two samples in a hundred, the noise of a small validation set"
    )
    samples_lost = Limit(
        3, unit="validation samples", why="of a set of fewer than 150 so many change sides from one epoch to the next"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the validation loss at the end with its best."""
        validation, training = seen.curve("loss", "validation"), seen.curve("loss")
        if validation is None or training is None or np.isfinite(validation.values).sum() < FEWEST_PASSES:
            yield self.cannot_tell(f"fewer than {FEWEST_PASSES} validation passes with a loss were seen")
            return
        turn = _turn(validation, training, progress_of(seen).reference)
        if turn is None:
            return
        clear = turn.late - turn.best >= self.noises * turn.noise
        if turn.rise >= self.rise and clear and turn.fall >= self.fall:
            yield self._report(seen, validation, turn)

    def _report(self, seen: History, validation: Curve, turn: Turn) -> Finding:
        accuracy = seen.curve("accuracy", "validation")
        evidence = [
            Evidence(
                f"validation loss, last {LATE_PASSES} passes / best (step {turn.best_step})",
                f"{turn.late:.4g} / {turn.best:.4g}",
                f"below {turn.best + self.rise * turn.scale:.4g}",
                "median of the passes",
                small_plot(validation, "validation loss", (None, turn.best + self.rise * turn.scale)),
            ),
            Evidence(
                "training loss, now / at that step",
                f"{turn.train_now:.4g} / {turn.train_then:.4g}",
                "both fall together",
            ),
        ]
        severity = Severity.WARNING
        if accuracy is not None and accuracy.values.size >= FEWEST_PASSES:
            late, best = float(np.median(accuracy.values[-LATE_PASSES:])), float(accuracy.values.max())
            evidence.append(Evidence("validation accuracy, now / best", f"{late:.3f} / {best:.3f}", "at its best"))
            samples = [each.samples for each in seen.validation if each.loss_calls and each.samples]
            few = self.samples_lost / float(np.median(samples)) if samples else 0.0
            if late >= best - max(self.accuracy_lost, few):
                severity = Severity.NOTE
        return self.finding(
            f"validation loss rose from {turn.best:.3g} to {turn.late:.3g} since step {turn.best_step}",
            severity=severity,
            place=place_at(
                validation.site or (seen.validation[-1].site if seen.validation else None),
                steps=(turn.best_step, max(seen.steps - 1, turn.best_step)),
            ),
            evidence=evidence,
            cause=f"After step {turn.best_step} the network learns what belongs to the training samples alone.",
            fixes=_fixes(),
            unless="another measure than the loss is what counts, and it still improves.",
        )

    bad = Examples(
        lambda: {
            "rises by a half": _validated(*_best, 0.55, 0.6, 0.65, 0.7, 0.75),
            "a rise next to the limit": _validated(*_best, 0.55, 0.58, 0.603, 0.603, 0.603),
            "the pass after training is a test on easier data": _validated(*_best, 0.55, 0.6, 0.65, 0.7, 0.75, 0.3),
            "rises by 3.5 times its noise": _validated(*_best, *_ripple(0.0236)),
            "a fall of the training loss next to the limit": _validated(
                *_best, 0.55, 0.6, 0.65, 0.7, 0.75, training=[*np.full(200, 1.0), *np.full(200, 0.898)]
            ),
            "the accuracy is lost as well": _validated(*_best, 0.55, 0.6, 0.65, 0.7, 0.75, accuracy=0.8),
            "an accuracy next to the limit": _validated(*_best, 0.55, 0.6, 0.65, 0.7, 0.75, accuracy=0.8795),
            "more samples of 50 than chance takes": _of_50(
                _validated(*_best, 0.55, 0.6, 0.65, 0.7, 0.75, accuracy=0.8395)
            ),
            "as few samples of 50 as chance takes": _of_50(
                _validated(*_best, 0.55, 0.6, 0.65, 0.7, 0.75, accuracy=0.8405)
            ),
            "surer of itself, and as accurate": _validated(*_best, 0.55, 0.6, 0.65, 0.7, 0.75, accuracy=0.8805),
        }
    )
    good = Examples(
        lambda: {
            "both fall together": _validated(0.9, 0.7, 0.6, 0.5, 0.45, 0.41, 0.4, 0.39),
            "near 0, where a rise by a half is next to nothing": _validated(
                0.3, 0.1, 0.04, 0.04, 0.05, 0.06, 0.06, 0.06
            ),
            "stays at its best": _validated(*_best, 0.5, 0.51, 0.5, 0.51, 0.51),
            "a rise just below the limit": _validated(*_best, 0.55, 0.58, 0.597, 0.597, 0.597),
            "rises by 2.5 times its noise": _validated(*_best, *_ripple(0.033)),
            "both losses rise": _validated(*_best, 0.55, 0.6, 0.65, 0.7, 0.75, training=np.linspace(0.5, 1.0, 400)),
            "the training loss stands still": _validated(
                *_best, 0.55, 0.6, 0.65, 0.7, 0.75, training=[*np.full(200, 1.0), *np.full(200, 0.902)]
            ),
            "four passes": _validated(0.5, 0.8, 0.9, 1.0),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_diabetes
        from torch import nn

        torch.manual_seed(SEED)
        data = load_diabetes()
        x = torch.tensor(data.data, dtype=torch.float32)
        y = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
        order = torch.randperm(len(x))
        train, held_out = order[:300], order[300:]
        x = (x - x[train].mean(0)) / x[train].std(0)
        y = (y - y[train].mean()) / y[train].std()
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(x[train], y[train]), batch_size=32, shuffle=True
        )
        model = nn.Sequential(nn.Linear(10, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(60):  # fix: for epoch in range(6):
            model.train()
            for features, target in loader:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(features), target)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                score = nn.functional.mse_loss(model(x[held_out]), y[held_out]).item()
        print(f"loss {score:.4f}")
        """)


def _turn(validation: Curve, training: Curve, began: float) -> Turn | None:
    """The turning point; None when the best pass is among the last ones, or no training loss was seen around it.

    Args:
        began: training loss at which learning began.
    """
    kept = np.isfinite(validation.values)
    steps, values = validation.steps[kept], validation.values[kept]
    # A pass after the last step may be a test on other data, so it cannot be the best.
    best = int(values[:-1].argmin())
    if best >= values.size - LATE_PASSES:
        return None
    width = max(5, int(np.median(np.diff(steps))))
    before, now = (_level(training, end, width) for end in (steps[best], training.steps[-1] + 1))
    first = _level(training, steps[0], width)
    if not (np.isfinite(before) and np.isfinite(now)):
        return None
    # Validation may sum what training averages; then the first pass alone says where it began.
    comparable = values[0] / 3 < first < values[0] * 3
    return Turn(
        best_step=int(steps[best]),
        best=float(values[best]),
        late=float(np.median(values[-LATE_PASSES:])),
        noise=_noise(values[best:]),
        scale=float(max(abs(values[0]), began if comparable else 0.0)),
        train_then=before,
        train_now=now,
    )


def _level(training: Curve, end: int, width: int) -> float:
    """Median training loss over the steps before `end`; NaN without any."""
    values = training.values[(training.steps < end) & (training.steps >= end - width)]
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def _noise(values: Doubles) -> float:
    """Standard deviation from pass to pass, robust; a steady rise is no noise, so changes of changes are taken."""
    if values.size < 4:
        return 0.0
    # For independent values the median of |second differences| is 0.6745 sqrt(6) standard deviations.
    return float(np.median(np.abs(np.diff(values, n=2))) / 1.65)


def _fixes() -> list[Fix]:
    keep = code(
        "if val_loss < best:",
        "    best = val_loss",
        "    torch.save(model.state_dict(), 'best.pt')",
    )
    decay = code("optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)")
    return [
        Fix(f"Keep the weights of the best pass, after each validation:\n{keep}"),
        Fix(f"Or hold the weights back with a decay:\n{decay}"),
    ]
