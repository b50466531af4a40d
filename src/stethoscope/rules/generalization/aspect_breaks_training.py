"""One aspect of the model or its training keeps copies from learning anything."""

from __future__ import annotations

import math
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.text import number
from stethoscope.facts.model import Aspect, Simplified
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.sites import code

FEWEST_ORDERS = 3

_whole = (2.29, 2.3, 2.3)
_decay = Aspect("weight decay", _whole, works=False, breaks=True)
_blocks = Aspect("the repeated blocks", (0.4,), works=True)


def _run(*aspects: Aspect, smallest: float = 0.5, works: bool = False, smallest_works: bool = True) -> History:
    return tried(simplified=Simplified(_whole, smallest, 2.27, 100, works, smallest_works, aspects))


TRY = {
    "the normalization layers": ("nn.Identity()  # in the place of each of them",),
    "the repeated blocks": ("blocks = blocks[:1]",),
    "the activations": ("nn.ReLU()  # in the place of each of them",),
    "the initial weights": ("# leave out your own initialization: torch's suits ReLU and tanh",),
    "the options of the loss": ("loss_fn = type(loss_fn)()  # without options, and times nothing",),
    "the optimizer and its rate": ("optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)",),
    "momentum": ("momentum=0.9  # betas=(0.9, 0.999) for Adam",),
    "weight decay": ("weight_decay=0",),
    "gradient clipping": ("# leave out clip_grad_norm_ or clip_grad_value_",),
    "dropout": ("nn.Dropout(0.1)",),
}
"""What to write first, for each aspect."""


class AspectBreaksTraining(Rule):
    """Copies learn a few batches by heart until one aspect is put back, and learn nothing with it.

    ## What it sees
    `stethoscope check --simplify` trains copies of the whole on a few batches, for 100 steps. Where these do not
    learn, everything that can be taken off is: normalization, repeated blocks, unusual activations, the script's own
    initial weights, options of the loss, its optimizer (Adam with 0.001 in its place), momentum, weight decay,
    clipping, dropout. If that smallest version learns, one after the other is put back. What brings learning to an
    end is taken off again and named, so that a second one is found, too.
    ## Why it hurts
    With it the loss stays where a network ends that cannot see its input.
    ## How to fix it
    Begin with what is named: leave it out, or give it its usual value, and see the loss fall. Then find out what about
    it is wrong.
    ## When it is not a fault
    Where training needs much longer before the loss begins to fall. A loss that is falling at the end of the 100 steps,
    however slowly, or begins to fall within 400 steps, is not reported, nor is what differs between orders of the
    batches.
    ## Sources
    A. Karpathy, "A Recipe for Training Neural Networks" (2019): "start simple". J. Tobin, "Troubleshooting Deep Neural
    Networks" (2019).
    """

    severity = Severity.WARNING
    explains = (
        "cannot-overfit-batch",
        "collapsed-predictions",
        "loss-not-decreasing",
        "underfitting",
        "no-gain-over-baseline",
    )

    clear = Limit(
        0.3,
        unit="share of a blind copy's loss by which the smallest version's is lower",
        why="below it there is little that could be lost again; versions that learn reach 0.5 to 0.99",
    )

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge what was put back."""
        shown = seen.preflight.simplified
        if shown is None:
            yield self.cannot_tell(seen.preflight.why_not("simplified"))
            return
        if not shown.smallest_works:
            yield self.cannot_tell("not even the smallest version learns a few batches by heart")
            return
        if shown.works or not shown.blind - shown.smallest > self.clear * abs(shown.blind):
            return
        for aspect in shown.aspects:
            if aspect.breaks and len(aspect.losses) >= FEWEST_ORDERS:
                yield self._report(aspect, shown)

    def _report(self, aspect: Aspect, shown: Simplified) -> Finding:
        diverges = not all(map(math.isfinite, aspect.losses))
        kept = [each.name for each in shown.aspects if each.works]
        return self.finding(
            f"copies learn until {aspect.name} {_is(aspect.name)} put back",
            evidence=[
                Evidence(
                    f"loss on a few batches after {shown.steps} steps, with {aspect.name}",
                    "not a number" if diverges else ", ".join(_shown(loss) for loss in aspect.losses),
                    f"{_shown(shown.smallest)} in the smallest version",
                    f"for {len(aspect.losses)} orders of the batches; {_shown(shown.blind)} for a copy that sees the "
                    "mean sample only",
                ),
                *([Evidence("put back without harm", ", ".join(kept), "all")] if kept else []),
            ],
            cause=f"A copy without it learns a few batches by heart, and with {aspect.name} it learns nothing, "
            "whatever the order of the batches.",
            fixes=["Begin here, and see the loss fall:\n" + code(*TRY.get(aspect.name, ("# leave it out",)))],
            unless="the loss begins to fall much later only.",
        )

    bad = Examples(
        lambda: {
            "weight decay": _run(_blocks, _decay),
            "two of them": _run(_decay, Aspect("dropout", _whole, works=False, breaks=True)),
            "it diverges": _run(Aspect("the optimizer and its rate", (math.inf,) * 3, works=False, breaks=True)),
            "the smallest learns a little": _run(_decay, smallest=1.57),
        }
    )
    good = Examples(
        lambda: {
            "the whole learns": _run(works=True),
            "the smallest does not learn": _run(smallest=2.25, smallest_works=False),
            "the smallest hardly learns": _run(_decay, smallest=1.61),
            "it is slow with one": _run(Aspect("weight decay", (1.9, 2.0, 2.2), works=False)),
            "tried once only": _run(Aspect("weight decay", (2.3,), works=False, breaks=True)),
            "not tried": tried(),
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


        class Gate(nn.Module):
            def forward(self, x):
                return torch.sigmoid(x / 1000)  # fix: return torch.sigmoid(x)


        model = nn.Sequential(nn.Linear(64, 64), Gate(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for epoch in range(10):
            for rows in torch.randperm(1797).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _is(name: str) -> str:
    return "are" if name.endswith("s") else "is"


def _shown(loss: float) -> str:
    return number(float(f"{loss:.3g}"))
