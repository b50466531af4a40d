"""Trainable parameters that an optimizer holds and no gradient reaches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.progress import progress_of
from stethoscope.facts.spare import is_unreached, spare_of_libraries
from stethoscope.facts.training import History, Model, Parameter
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome
from stethoscope.rules.sites import code, place_at

CUT, UNUSED, ASIDE, SPARE = "cut", "unused", "aside", "spare"
"""Ways to be unreached: everything up to some layer, never called, called beside the way to the loss, or one of the
two in a part that a library's class makes for those who need it."""


def _run(loss: ArrayLike, reached: str, **changes: Any) -> History:
    """A chain of layers: `+` reached, `-` unreached, `.` unreached and never called."""
    seen = run(loss, weights=len(reached))
    layers = tuple(
        replace(layer, order=-1 if mark == "." else layer.order)
        for layer, mark in zip(seen.layers, reached, strict=True)
    )
    parameters = tuple(
        replace(p, **{"in_graph": mark == "+", "received_gradient": mark == "+", **(changes if mark != "+" else {})})
        for p, mark in zip(seen.parameters, reached, strict=True)
    )
    return replace(seen, layers=layers, parameters=parameters)


def _of_library(seen: History) -> History:
    """The same, of a model that a package's class makes."""
    return replace(seen, models=(Model("BertModel", library_modules=("",)),))


class DisconnectedParameters(Rule):
    """Trainable parameters that the optimizer holds receive no gradient in the whole run.

    ## What it sees
    Parameters of the optimizer that no graph of a training loss reaches and that were never seen with a gradient:
    all layers from the input up to a cut, layers that no forward pass calls, or layers beside the way to the loss.
    ## Why it hurts
    The optimizer leaves a parameter without gradient as it is, and says nothing. Layers before a `detach()`, a
    `no_grad` or a step through numpy keep the random numbers that they started with; a layer that `forward` never
    calls is missing from the network.
    ## How to fix it
    Take out the `detach()`, `no_grad`, `.data` or `.numpy()` between these layers and the loss; call the layer in
    `forward`, or delete it.
    ## When it is not a fault
    A frozen part: `requires_grad_(False)` says so, and keeps it out of the optimizer. Spare heads, experts that are
    called rarely, and other layers that the network does without are at most a note as long as the run learns well.
    A part that a library's own class makes and the loss does not use, such as a pooler, is never more than a note.
    ## Sources
    PyTorch documentation, "Autograd mechanics" (a cut graph) and `torch.optim` (parameters whose `grad` is None are
    skipped).
    """

    explains = (
        "frozen-parameters",
        "learning-rate-too-low",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "collapsed-predictions",
        "no-gain-over-baseline",
    )
    reads = ("loop", "losses")

    fewest_steps = Limit(20, unit="steps", why="in a shorter run a part may wait for its turn")
    share = Limit(0.02, unit="share of the model's values", why="a spare bias does no harm worth a word")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each model whose other parameters are reached."""
        if seen.steps < self.fewest_steps or not any(p.in_graph for p in seen.parameters):
            yield self.cannot_tell(f"fewer than {self.fewest_steps:g} steps, or no graph of a training loss was read")
            return
        spare = {id(seen.parameters[index]) for index in spare_of_libraries(seen)}
        models = sorted({layer.model for layer in seen.layers})
        for model in models:
            held = [
                p
                for p in seen.parameters
                if p.trainable and p.optimizer >= 0 and p.layer >= 0 and seen.layers[p.layer].model == model
            ]
            lost = [p for p in held if is_unreached(p)]
            missed = [p for p in lost if id(p) not in spare]
            lost = missed or lost
            if not lost or len(lost) == len(held) or _count(lost) < self.share * _count(held):
                continue
            way = _way(seen, held, lost)
            yield self._report(seen, held, lost, SPARE if way in (UNUSED, ASIDE) and not missed else way)

    def _report(self, seen: History, held: Sequence[Parameter], lost: Sequence[Parameter], way: str) -> Finding:
        progress = progress_of(seen)
        severity = Severity.NOTE if progress.learns_well or way == SPARE else Severity.WARNING
        if way == CUT:  # a layer that is left out may be missed or not; a cut is one
            severity = Severity.ERROR if progress.is_stuck else Severity.WARNING
        first = min(lost, key=lambda p: seen.layers[p.layer].order)
        layer = seen.layers[first.layer]
        layers = len({p.layer for p in lost})
        count = _count(lost)
        what = f"`{layer.name}`" if layers == 1 else f"{layers} layers"
        title = f"no gradient reaches {what}: {count:,} trainable values stay as they are"
        judged = progress.known and not progress.learns_well and way != SPARE
        state = f" The loss {outcome(progress)}." if judged else ""
        return self.finding(
            title if len(title) <= 72 else f"no gradient reaches {count:,} trainable values",
            severity=severity,
            sureness=Sureness.CERTAIN if way == CUT else Sureness.LIKELY,
            place=place_at(None, steps=(0, max(seen.steps - 1, 0)), module=layer.name, parameter=first.name),
            evidence=[
                Evidence(
                    "trainable tensors in an optimizer that never received a gradient",
                    f"{len(lost)} of {len(held)}, from `{lost[0].name}` to `{lost[-1].name}`",
                    "0",
                    "graph of the loss, and gradients at every look",
                ),
                Evidence(
                    "of them, tensors of layers that were called while training",
                    sum(1 for p in lost if seen.layers[p.layer].order >= 0),
                    "0",
                ),
                *([loss_evidence(seen, progress)] if progress.known and way != SPARE else []),
            ],
            cause=_cause(seen, way, held, lost) + state,
            fixes=_fixes(way, layer.name),
            unless=""
            if way == CUT and not progress.learns_well
            else "these layers are meant to stay as they are; `requires_grad_(False)` says so.",
        )

    bad = Examples(
        lambda: {
            "an encoder cut off": _run(flat(2.2), "--++"),
            "a spare head of a library's, in a run that is stuck": _of_library(_run(flat(2.3), "++-+")),
            "cut off, and the head learns well without it": _run(falling(2.3, 0.3), "--++"),
            "a layer that forward never calls": _run(falling(2.3, 1.9), "++.+"),
            "a spare head, in a run that learns well": _run(falling(2.3, 0.2), "+++."),
            "a head beside the way to the loss": _run(falling(2.3, 0.2), "++-+"),
            "twenty steps": _run(flat(2.3, 20), "-+++"),
            "a share next to the limit": _run(flat(2.3), "-+++", shape=(2, 126)),
        }
    )
    good = Examples(
        lambda: {
            "all are reached": _run(flat(2.3), "++++"),
            "frozen, and said so": _run(flat(2.3), "--++", trainable=False),
            "in no optimizer": _run(flat(2.3), "--++", optimizer=-1),
            "received gradients later": _run(flat(2.3), "--++", received_gradient=True),
            "reached by the graph, at a rare branch": _run(flat(2.3), "--++", in_graph=True),
            "none is reached: another fault": _run(flat(2.3), "----"),
            "nineteen steps": _run(flat(2.3, 19), "-+++"),
            "a share just below the limit": _run(flat(2.3), "-+++", shape=(2, 124)),
            "tied to another": _run(flat(2.3), "-+++", shared_with="6.weight"),
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

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8), nn.ReLU())
                self.head = nn.Linear(8, 10)

            def forward(self, x):
                codes = self.encoder(x)
                codes = codes.detach()  # fix:
                return self.head(codes)

        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _count(parameters: Sequence[Parameter]) -> int:
    return sum(p.count for p in parameters)


def _way(seen: History, held: Sequence[Parameter], lost: Sequence[Parameter]) -> str:
    """How they came to be unreached."""
    called = sorted((seen.layers[p.layer].order, is_unreached(p)) for p in held if seen.layers[p.layer].order >= 0)
    unreached = [is_lost for _, is_lost in called]
    cut = sum(unreached)
    if cut and all(unreached[:cut]):
        return CUT
    return UNUSED if all(seen.layers[p.layer].order < 0 for p in lost) else ASIDE


def _cause(seen: History, way: str, held: Sequence[Parameter], lost: Sequence[Parameter]) -> str:
    if way == CUT:
        reached = [p for p in held if not is_unreached(p) and seen.layers[p.layer].order >= 0]
        behind = min(reached, key=lambda p: seen.layers[p.layer].order, default=None)
        before = f" before `{seen.layers[behind.layer].name}`" if behind else ""
        return f"The graph of the loss ends{before}: everything that runs earlier is cut off from it."
    if way == SPARE:
        return (
            "The class that makes them belongs to an installed package, and the loss does not use them: they are "
            "saved and moved for nothing, and are no reason for what else is wrong."
        )
    if way == UNUSED:
        return "No training step called these layers, so they take no part in the network."
    return "These layers run, but what they put out does not reach the loss."


def _fixes(way: str, name: str) -> list[Fix]:
    if way == CUT:
        return [
            Fix("Let the gradient through: take out what cuts the graph, such as\n" + code("codes = codes.detach()")),
            Fix(f"Or, if that part is meant to stay as it is, say so:\n{code(f'model.{name}.requires_grad_(False)')}"),
        ]
    if way == SPARE:
        return [Fix(f"Leave them be, or say that they do not train:\n{code(f'model.{name}.requires_grad_(False)')}")]
    call = code(f"x = self.{name}(x)   # in forward")
    return [Fix(f"Use the layer on the way to the loss, or delete it:\n{call}")]
