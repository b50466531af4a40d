"""A network that is good in training mode and poor in evaluation, from the first passes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Kind, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.modes import Sides, losses_of
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import Curve, History
from stethoscope.rules.chance import CLEARLY_BELOW
from stethoscope.rules.examples import falling, run, with_curve
from stethoscope.rules.learning import small_plot
from stethoscope.rules.sites import code, place_at


def _run(values: Sequence[float], end: float = 0.07, chance: float = 2.3026) -> History:
    """A classifier that learned, with these validation losses at even distances."""
    seen = run(falling(2.31, end, 400), chance=chance)
    steps = np.arange(1, len(values) + 1) * (400 // len(values))
    return with_curve(seen, Curve("validation loss", "loss", "validation", steps, np.array(values)))


def _apart(factor: float) -> History:
    """Validation is at its best, below guessing, at its first pass, and so many times above training there."""
    seen = _run((2.0, 2.3, 2.4, *[2.5] * 37))
    steps = np.arange(400)
    values = np.where(steps < 5, 2.31, np.where(steps < 10, 2.0 / factor, 0.1))
    return with_curve(seen, Curve("training loss", "loss", "training", steps, values))


def _summed(seen: History) -> History:
    """The same, with a validation that adds up the losses of a batch."""
    return replace(
        seen, losses=(*seen.losses, replace(seen.losses[0], training_calls=0, evaluation_calls=4, reduction="sum"))
    )


def _late(seen: History) -> History:
    """The same, with a training loss that stays at guessing for half of the run."""
    steps = np.arange(400)
    return with_curve(seen, Curve("training loss", "loss", "training", steps, np.where(steps < 200, 2.3, 0.1)))


_poor = (2.4, 2.5, 2.4, 2.6)


class TrainEvalMismatch(Rule):
    """The validation loss stays near guessing while the training loss falls, from the first passes on.

    ## What it sees
    The loss of each validation pass beside the training loss of the steps right before it: training well below where
    it began, validation at the level of guessing, at the first passes already and at all later ones.
    ## Why it hurts
    Overfitting takes time: at first both losses fall together. A gap from the beginning says that the network in
    evaluation is not the network that was trained, or is not given the same kind of data.
    ## How to fix it
    Evaluate one *training* batch in eval mode. If its loss is poor too, the modes differ: look at batch
    normalization and dropout. If it is good, the validation data differ: look at how they are prepared.
    ## When it is not a fault
    When validation is a harder task on purpose: other domains, unseen classes.
    ## Sources
    H. Ben Braiek and F. Khomh, TheDeepChecker, TOSEM 2022 ("train/eval mode disagreement").
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING
    reads = ("losses", "validation")

    fewest_passes = Limit(3, unit="passes", why="one poor pass may be chance")
    learned = Limit(0.6, unit="training loss / where learning begins", why="before that there is nothing to compare")
    poor = Limit(
        0.8,
        unit="validation loss / where learning begins",
        why="networks that overfit pass through a better level first",
    )
    together = Limit(
        1.5,
        unit="validation loss / training loss, at the best pass",
        why="below guessing and this near each other, both fell as one until then: what came later is overfitting",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare both losses at every pass at which training had learned something."""
        sides = losses_of(seen)
        if sides is None or sides.steps.size < self.fewest_passes:
            yield self.cannot_tell(f"fewer than {self.fewest_passes:g} validation passes with a comparable loss")
            return
        reference = progress_of(seen).reference
        late = np.flatnonzero(sides.training <= self.learned * reference)
        # Where training learned late, it may have memorized.
        soon = late.size >= 2 and late[0] <= max(1, sides.steps.size // 10)
        best = int(sides.validation.argmin())
        as_one = sides.validation[best] < CLEARLY_BELOW * reference and (
            sides.validation[best] < self.together * sides.training[best]
        )
        if soon and not as_one and sides.validation[best] >= self.poor * reference:
            yield self._report(seen, sides, reference)

    def _report(self, seen: History, sides: Sides, reference: float) -> Finding:
        curve = seen.curve("loss", "validation")
        validation = seen.validation[-1].site if seen.validation else None
        best = float(sides.validation.min())
        return self.finding(
            f"validation loss is {sides.validation[-1]:.3g} where training has {sides.training[-1]:.3g}",
            place=place_at(
                (curve.site if curve else None) or validation, steps=(int(sides.steps[0]), max(seen.steps - 1, 0))
            ),
            evidence=[
                Evidence(
                    "validation loss / training loss right before it, last pass",
                    f"{sides.validation[-1]:.3g} / {sides.training[-1]:.3g}",
                    "alike, at first",
                    "",
                    small_plot(curve, "validation loss", (None, self.poor * reference)) if curve else None,
                ),
                Evidence(
                    f"best validation loss of {sides.steps.size} passes",
                    f"{best:.3g} (guessing: {reference:.3g})",
                    f"below {self.poor * reference:.3g}",
                ),
            ],
            cause="No pass was ever clearly better than guessing, though training learned: the network in evaluation "
            "differs from the one in training, or its data do.",
            fixes=[
                Fix(
                    "See which of the two it is, with a training batch:\n"
                    + code("model.eval()", "with torch.no_grad():", "    print(loss_function(model(x), y))")
                ),
            ],
            unless="validation is a harder task on purpose.",
        )

    bad = Examples(
        lambda: {
            "poor from the first pass on": _run(_poor),
            "a best pass next to the limit": _run((2.4, 2.5, 1.76, 2.6)),
            "three passes": _run(_poor[:3]),
            "training next to the limit": _run(_poor, end=1.33),
            "far apart at the best pass already": _apart(1.55),
        }
    )
    good = Examples(
        lambda: {
            "both fall together": _run((1.0, 0.4, 0.2, 0.15)),
            "good at first: overfitting": _run((1.2, 1.4, 2.0, 2.6)),
            "a best pass just below the limit": _run((2.4, 2.5, 1.72, 2.6)),
            "as one until the best pass": _apart(1.47),
            "two passes": _run(_poor[:2]),
            "sums beside means": _summed(_run((70.0, 60.0, 50.0, 40.0))),
            "training learned late": _late(_run((2.4, 2.4, 2.4, 2.4, 2.5, 2.6))),
            "training learned too little to say": _run(_poor, end=1.37),
            "a loss whose level is unknown": _run(_poor, chance=float("nan")),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) * 20
        labels = torch.tensor(data.target)
        order = torch.randperm(len(images))
        train, held_out = order[:1400], order[1400:]
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images[train], labels[train]), batch_size=64, shuffle=True
        )
        model = nn.Sequential(
            nn.BatchNorm1d(64, momentum=0.0),  # fix: nn.BatchNorm1d(64),
            nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

        for epoch in range(6):
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
