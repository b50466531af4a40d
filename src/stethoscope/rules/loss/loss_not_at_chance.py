"""A first loss far above that of a guess."""

from __future__ import annotations

import math
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Kind, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.examples import falling, flat
from stethoscope.rules.heads import heard, named, span, trained, width
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.sites import at, code, place_at

BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


_ten = {"output_shape": (64, 10), "target_is_integer": True, "output_min": -90.0, "output_max": 120.0}


class LossNotAtChance(Rule):
    """The first loss is several times that of a guess: an untrained network is sure, and wrong.

    ## What it sees
    The first value of a cross-entropy beside the logarithm of the number of classes, which is what a network gives
    that knows nothing and says so; in a run that does not learn well.
    ## Why it hurts
    Scores that are large before anything was learned come from inputs or weights on a wrong scale. Training then
    spends its first steps on pulling them back, and may lose units while it does.
    ## How to fix it
    Bring the inputs to a mean of 0 and a spread of 1, and start with the layers' own initialization.
    ## When it is not a fault
    A run that learns well is not reported, whatever it began with.
    ## Sources
    A. Karpathy, "A Recipe for Training Neural Networks": "verify loss @ init", -log(1/n_classes).
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING
    reads = ("losses",)

    above = Limit(
        4.0, unit="first loss / loss of a guess", why="usual initializations begin at 1.0 to 1.3, deep ones below 2"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the first value of each cross-entropy."""
        progress = progress_of(seen)
        calls = [loss for loss in trained(seen) if math.isfinite(_guess(loss)) and math.isfinite(loss.first_value)]
        if not calls or not progress.known:
            yield self.cannot_tell("the run was too short, or what a guess gives is not known for its loss")
            return
        if progress.learns_well or (seen.preflight.is_check and progress.gain > 0):
            return  # a few steps of a check have mended it already
        for loss in calls:
            if loss.first_value > self.above * _guess(loss):
                yield self._report(loss, seen)

    def _report(self, loss: LossCall, seen: History) -> Finding:
        guess = _guess(loss)
        classes = 2 if loss.computes in BINARY else width(loss)
        return self.finding(
            f"the first loss is {loss.first_value:.3g}, {loss.first_value / guess:.0f} times that of a guess",
            place=place_at(loss.site, steps=(0, 0)),
            evidence=[
                Evidence("first loss", f"{loss.first_value:.3g}", f"{guess:.3g}", f"log({classes}), from even odds"),
                Evidence("outputs over the run", span(loss.output_min, loss.output_max), "near 0 at the start"),
                loss_evidence(seen, progress_of(seen)),
            ],
            cause=f"Before anything was learned, what goes into {named(loss)} at {at(loss.site)} is large: the network "
            "is sure of wrong answers.",
            fixes=[
                "Look at the scale of the inputs first, then at the initial weights:\n"
                + code("print(x.mean(), x.std(), model(x).std())  # 0, 1, and below 1")
            ],
        )

    bad = Examples(
        lambda: {
            "forty times as much": heard("cross_entropy", falling(92.0, 85.0), chance=2.3, **_ten),
            "next to the limit": heard("cross_entropy", flat(9.3, noise=0.001), first_value=9.3, chance=2.3, **_ten),
            "yes or no": heard(
                "binary_cross_entropy_with_logits", flat(20.0), chance=0.69, output_min=-50.0, output_max=60.0
            ),
        }
    )
    good = Examples(
        lambda: {
            "ln 10": heard("cross_entropy", flat(2.31), chance=2.3, **_ten),
            "below the limit": heard("cross_entropy", flat(9.1, noise=0.001), first_value=9.1, chance=2.3, **_ten),
            "large at first, and learns well": heard("cross_entropy", falling(92.0, 0.5), chance=2.3, **_ten),
            "a sum": heard("cross_entropy", flat(147.0), reduction="sum", **_ten),
            "too short": heard("cross_entropy", flat(92.0, 9), **_ten),
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
        model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
        for layer in model[::2]:
            nn.init.normal_(layer.weight, std=20.0)  # fix: nn.init.xavier_normal_(layer.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        for epoch in range(6):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _guess(loss: LossCall) -> float:
    """The value of this loss when every answer is as likely as any other; NaN where that is not known."""
    if loss.reduction != "mean":
        return math.nan
    if loss.computes in BINARY:
        inside = loss.target_min >= 0 and loss.target_max <= 1
        return math.log(2) if inside or math.isfinite(loss.chance) else math.nan
    if loss.computes in ("cross_entropy", "nll_loss") and loss.target_is_integer and width(loss) > 1:
        return math.log(width(loss))
    return math.nan
