"""A trained network that answers no better than the most frequent class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Kind, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.training import Curve, History, LossCall
from stethoscope.rules.chance import guess, held_out_counts
from stethoscope.rules.examples import falling, flat, run, with_curve
from stethoscope.rules.learning import small_plot
from stethoscope.rules.sites import code, place_at

LAST_PASSES = 3


def _validated(
    *accuracies: float, loss: ArrayLike = 2.31, counts: tuple[int, ...] = (300,) * 10, steps: int = 400
) -> History:
    """A classifier of ten classes with these validation accuracies and losses."""
    seen = run(flat(2.3, steps))
    at = np.linspace(steps // len(accuracies), steps, len(accuracies)).astype(int)
    losses = np.broadcast_to(np.asarray(loss, np.float64), at.shape).copy()
    call = LossCall("cross_entropy", evaluation_calls=len(accuracies), evaluation_class_counts=counts)
    seen = replace(seen, losses=(*seen.losses, call))
    seen = with_curve(seen, Curve("validation loss", "loss", "validation", at, losses))
    return with_curve(seen, Curve("validation accuracy", "accuracy", "validation", at, np.array(accuracies)))


class NoGainOverBaseline(Rule):
    """After all its training the network answers no better than naming the most frequent class.

    ## What it sees
    The classes of the validation samples, counted, and from them what two answers reach that ignore the input: the
    accuracy of always naming the most frequent class, and the loss of always answering the class frequencies. The
    last passes of the network beat neither.
    ## Why it hurts
    A network like that has learned nothing that holds outside of its training samples.
    ## How to fix it
    First see whether the training loss falls. If it does not, the training itself is at fault; if it does, compare
    how inputs and labels are prepared for training and for validation, and whether they still belong together.
    ## When it is not a fault
    Answers that nobody can know, and very rare events, where even a good network hardly beats the guess in accuracy:
    there its loss is below that of the frequencies, and nothing is reported.
    ## Sources
    J. Hestness et al., "Deep Learning Scaling is Predictable, Empirically", 2017: best guessing as the error from
    which learning begins.
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING
    reads = ("losses", "validation")
    to_the_end = True

    fewest_steps = Limit(100, unit="training steps", why="a network may need some dozens to leave a guess behind")
    deviations = Limit(
        3, unit="standard deviations of the guess's accuracy", why="what the draw of the validation samples may give"
    )
    loss_share = Limit(
        0.98, unit="validation loss / loss of the class frequencies", why="a loss below it has found something"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the last passes with what ignores the input."""
        accuracy, loss = seen.curve("accuracy", "validation"), seen.curve("loss", "validation")
        counts = held_out_counts(seen)
        if accuracy is None or loss is None or not accuracy.values.size or not counts.sum():
            yield self.cannot_tell("no validation loss over classes was seen")
            return
        share, entropy = guess(seen), _entropy(counts)
        if seen.steps < self.fewest_steps or entropy == 0:
            yield self.cannot_tell("the run was too short, or one class only was validated")
            return
        rows = float(counts.sum()) / accuracy.values.size
        reached = float(np.median(accuracy.values[-LAST_PASSES:]))
        edge = share + self.deviations * (share * (1 - share) / rows) ** 0.5
        # A validation that sums its losses lies above the entropy, too, but then its accuracy tells.
        if reached <= edge and np.median(loss.values[-LAST_PASSES:]) >= self.loss_share * entropy:
            yield self._report(seen, accuracy, loss, reached, edge)

    def _report(self, seen: History, accuracy: Curve, loss: Curve, reached: float, edge: float) -> Finding:
        share, entropy = guess(seen), _entropy(held_out_counts(seen))
        last = float(np.median(loss.values[-LAST_PASSES:]))
        return self.finding(
            f"validation accuracy {reached:.3f} is no better than a guess ({share:.3f})",
            place=place_at(
                accuracy.site or (seen.validation[-1].site if seen.validation else None),
                steps=(int(accuracy.steps[0]), max(seen.steps - 1, int(accuracy.steps[0]))),
            ),
            evidence=[
                Evidence(
                    f"validation accuracy, last {LAST_PASSES} passes",
                    f"{reached:.3f}",
                    f"above {edge:.3f}",
                    f"always naming the most frequent class gives {share:.3f}",
                    small_plot(accuracy, "validation accuracy", (edge, None)),
                ),
                Evidence(
                    f"validation loss, last {LAST_PASSES} passes",
                    f"{last:.4g}",
                    f"below {self.loss_share * entropy:.4g}",
                    f"always answering the class frequencies gives {entropy:.4g}",
                ),
            ],
            cause=f"After {seen.steps:,} steps the network knows no more about new samples than how frequent each "
            "class is.",
            fixes=[
                Fix(
                    "See whether one batch can be learned at all; the loss of this must come near 0:\n"
                    + code(
                        "for _ in range(200):",
                        "    loss = F.cross_entropy(model(x), y)",
                        "    optimizer.zero_grad(); loss.backward(); optimizer.step()",
                    )
                ),
                Fix("If it does, look at a few validation samples:\n" + code("print(x_val[:3], y_val[:3])")),
            ],
            unless="nothing about these classes can be known from the input.",
        )

    bad = Examples(
        lambda: {
            "at chance from the start to the end": _validated(0.1, 0.11, 0.09, 0.1, 0.1),
            "at chance, and ever surer of it": _validated(0.1, 0.11, 0.09, 0.1, 0.1, loss=np.linspace(2.3, 6.0, 5)),
            "the most frequent of two classes": _validated(0.63, 0.63, loss=0.66, counts=(126, 74)),
            "an accuracy next to the limit": _validated(0.1, 0.1365, 0.1365, 0.1365, 0.1365),
            "a loss next to the limit": _validated(0.1, 0.1, 0.1, 0.1, 0.1, loss=2.27),
            "a run of 100 steps": _validated(0.1, 0.1, 0.1, 0.1, 0.1, steps=100),
        }
    )
    good = Examples(
        lambda: {
            "learned": _validated(0.5, 0.8, 0.9, 0.92, 0.93, loss=falling(2.0, 0.2, 5)),
            "an accuracy just above the limit": _validated(0.1, 0.1375, 0.1375, 0.1375, 0.1375),
            "a loss just below the limit": _validated(0.1, 0.1, 0.1, 0.1, 0.1, loss=2.24),
            "a rare event, whose probability is known better": _validated(0.95, 0.95, loss=0.1, counts=(1900, 100)),
            "a run of 99 steps": _validated(0.1, 0.1, 0.1, 0.1, 0.1, steps=99),
            "one class": _validated(1.0, 1.0, loss=0.1, counts=(100, 0)),
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
        order = torch.randperm(len(images))
        train, held_out = order[:1400], order[1400:]
        x_val = images[held_out]
        y_val = labels[1400:]  # fix: y_val = labels[held_out]
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images[train], labels[train]), batch_size=32, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(12):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                score = nn.functional.cross_entropy(model(x_val), y_val).item()
        print(f"loss {score:.4f}")
        """)


def _entropy(counts: ArrayLike) -> float:
    """Loss of answering the class frequencies, in nats."""
    numbers = np.asarray(counts, np.float64)
    shares = numbers[numbers > 0] / numbers.sum()
    return float(-(shares * np.log(shares)).sum())
