"""Parameters that never change although training runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Kind, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import TrainAllParameters
from stethoscope.facts.adapters import has_adapters
from stethoscope.facts.progress import progress_of
from stethoscope.facts.spare import spare_of_libraries
from stethoscope.facts.training import PARAMETER_STATISTICS, History, Optimizer, Parameter
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome
from stethoscope.rules.sites import at, code, place_at

NO_STEP, NO_GRADIENT, NOT_TRAINABLE, NOT_HELD = "no step", "no gradient", "not trainable", "not held"
"""Routes: steps of size 0, no gradient, `requires_grad=False`, in no optimizer."""


def _run(loss: ArrayLike, moves: str, looks: int = 12, **changes: Any) -> History:
    """A chain of layers: `+` moves, `0` has gradients and does not, `-` has no gradient."""
    seen = run(loss, weights=len(moves))
    table = seen.telemetry.parameters[:looks].copy()
    for index, mark in enumerate(moves):
        table[:, index, PARAMETER_STATISTICS.index("update_rms")] = 1e-3 if mark == "+" else 0.0
        table[:, index, PARAMETER_STATISTICS.index("gradient_rms")] = np.nan if mark == "-" else 0.01
    parameters = tuple(
        replace(p, in_graph=True, received_gradient=mark != "-", **(changes if mark != "+" else {}))
        for p, mark in zip(seen.parameters, moves, strict=True)
    )
    telemetry = replace(seen.telemetry, parameters=table, steps=seen.telemetry.steps[:looks])
    return replace(seen, parameters=parameters, telemetry=telemetry)


def _adapted() -> History:
    """A stuck run of a frozen layer with two trained matrices of low rank beside it."""
    seen = _run(flat(2.3), "-++", trainable=False, optimizer=-1)
    names, shapes = ("fc.base.weight", "fc.down.weight", "fc.up.weight"), ((64, 32), (4, 32), (64, 4))
    parts = zip(seen.parameters, names, shapes, strict=True)
    return replace(seen, parameters=tuple(replace(p, name=name, shape=shape) for p, name, shape in parts))


class FrozenParameters(Rule):
    """Parameters of the network never change although training runs.

    ## What it sees
    Weights that are the same before and after each step that was looked at, and by which route: a learning rate of 0
    for their group, steps too small for their number format, no gradient, `requires_grad=False`, or no optimizer.
    ## Why it hurts
    What does not move does not learn. The rest of the network is trained around numbers that are still random.
    ## How to fix it
    By route: give the group a rate, keep a float32 copy of low-precision weights, connect the layers to the loss, or
    set `requires_grad_(True)` where a layer was frozen by accident.
    ## When it is not a fault
    A pretrained backbone in front of a new head is frozen on purpose: as long as the run learns, frozen parameters
    are not reported, unless they are still as torch drew them and the loss has come half of the way only.
    A rate of 0 at the first steps of a warm-up is none either, nor what stands behind adapters such as LoRA's.
    ## Sources
    PyTorch documentation, `torch.optim`, "Per-parameter options", and "Autograd mechanics", "Setting requires_grad".
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING
    treatments = (TrainAllParameters(),)
    explains = (
        "loss-not-decreasing",
        "attention-collapse",
        "underfitting",
        "collapsed-predictions",
        "no-gain-over-baseline",
    )
    reads = ("losses", "updates")

    fewest_looks = Limit(10, unit="looks", why="a warm-up may begin with a rate of 0 for a few steps")
    idle_share = Limit(
        0.05, unit="share of the held values that steps of size 0 leave as they are", why="a few biases matter little"
    )
    frozen_share = Limit(
        0.5,
        unit="share of the model's values that are not trainable, in a run that is stuck",
        why="the larger part: less is a detail of the network",
    )

    gain = Limit(
        0.6,
        unit="share of the way from guessing to a loss of 0",
        why="random features in front of a trained layer take it half of the way; where more is reached they suffice",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Look for steps that move nothing, then, in a stuck run, for what was frozen."""
        progress = progress_of(seen)
        if not progress.known or np.count_nonzero(seen.telemetry.steps >= 0) < self.fewest_looks:
            yield self.cannot_tell(f"fewer than {self.fewest_looks:g} looks, or no loss was seen")
            return
        idle = [i for i, p in enumerate(seen.parameters) if p.optimizer >= 0 and p.trainable and _stands_still(seen, i)]
        held = [p for p in seen.parameters if p.optimizer >= 0 and p.trainable]
        stepped = [seen.parameters[i] for i in idle if _has_gradient(seen, i)]
        if stepped and _count(stepped) >= self.idle_share * _count(held):
            yield self._report(seen, stepped, held, NO_STEP)
            return
        of_models = [p for p in seen.parameters if p.layer >= 0 and seen.layers[p.layer].order >= 0]
        unheld = [p for p in of_models if not p.trainable or p.optimizer < 0]
        if has_adapters(seen):  # what they stand beside is frozen on purpose
            unheld = [p for p in unheld if p.trainable]
        if not progress.is_stuck:
            if progress.gain < self.gain and self._is_untrained(seen, unheld, of_models):
                yield self._report(seen, unheld, of_models, NOT_TRAINABLE)
            return
        spare = spare_of_libraries(seen)  # waste, and no reason to be stuck
        lost = [
            seen.parameters[i] for i in idle if not _has_gradient(seen, i) and _is_called(seen, i) and i not in spare
        ]
        if lost and _count(lost) >= self.idle_share * _count(held):
            yield self._report(seen, lost, held, NO_GRADIENT)
        elif held and unheld and _count(unheld) >= self.frozen_share * _count(of_models):
            route = NOT_TRAINABLE if not unheld[0].trainable else NOT_HELD
            yield self._report(seen, unheld, of_models, route)

    def _is_untrained(self, seen: History, unheld: Sequence[Parameter], of_models: Sequence[Parameter]) -> bool:
        """Whether the larger part of one network, in front of what trains, is frozen and as torch drew it.

        Weights that were trained before, loaded or copied lie otherwise: a backbone that was frozen on purpose.
        """
        trained = [seen.layers[p.layer] for p in of_models if p.trainable and p.optimizer >= 0]
        weights = [p for p in unheld if len(p.shape) >= 2]
        if not trained or not weights or not all(p.as_drawn and not p.trainable for p in weights):
            return False
        layers = [seen.layers[p.layer] for p in unheld]
        if {layer.model for layer in layers} != {layer.model for layer in trained} or any(x.loaded for x in layers):
            return False
        in_front = max(layer.order for layer in layers) < min(layer.order for layer in trained)
        return in_front and _count(unheld) >= self.frozen_share * _count(of_models)

    def _report(self, seen: History, still: Sequence[Parameter], of: Sequence[Parameter], route: str) -> Finding:
        progress = progress_of(seen)
        first = still[0]
        optimizer = seen.optimizers[first.optimizer] if 0 <= first.optimizer < len(seen.optimizers) else None
        untrained = not progress.is_stuck and route == NOT_TRAINABLE
        count = f"{len(still)} of {len(of)}"
        title = f"{count} parameters never change: {_ROUTES[route][0]}"
        severity = Severity.WARNING
        if progress.is_stuck and route in (NO_STEP, NO_GRADIENT):
            severity = Severity.ERROR
        elif progress.learns_well and not untrained:
            severity = Severity.NOTE
        module = seen.layers[first.layer].name if 0 <= first.layer < len(seen.layers) else None
        return self.finding(
            title,
            severity=severity,
            sureness=Sureness.CERTAIN if route == NO_STEP else Sureness.LIKELY,
            place=place_at(
                optimizer.site if optimizer and route == NO_STEP else None,
                steps=(0, max(seen.steps - 1, 0)),
                module=module,
                parameter=first.name,
            ),
            evidence=[
                Evidence(
                    f"change of `{first.name}` over {seen.telemetry.steps.size} looks"
                    + (f", and {len(still) - 1} more" if len(still) > 1 else ""),
                    "0",
                    "above 0",
                    "sampled, before and after each step looked at",
                ),
                Evidence("values that never change", f"{_count(still) / max(1, _count(of)):.0%}", "0 %"),
                loss_evidence(seen, progress),
            ],
            cause=f"{_UNTRAINED} {outcome(progress)}."
            if untrained
            else _cause(route, optimizer, outcome(progress) if not progress.learns_well else "falls all the same"),
            fixes=[_ROUTES[route][1]],
            unless="these layers are meant to stay as they are.",
        )

    bad = Examples(lambda: {
        "a body at a rate of 0": _run(falling(2.3, 1.8), "00++"),
        "in a run that learns well": _run(falling(2.3, 0.2), "00++"),
        "ten looks": _run(flat(2.3), "00++", looks=10),
        "an idle share next to the limit": _run(flat(2.3), "0+++", shape=(8, 81)),
        "no gradient": _run(flat(2.3), "--++"),
        "most is not trainable": _run(flat(2.3), "--++", trainable=False, optimizer=-1),
        "a frozen share next to the limit": _run(
            flat(2.3), "-+++", trainable=False, optimizer=-1, shape=(64, 193)
        ),
        "most is as torch drew it, and half is learned": _run(
            falling(2.3, 1.15), "--++", trainable=False, optimizer=-1, as_drawn=True
        ),
        "as torch drew it, next to the limit": _run(
            falling(2.3, 0.885), "--++", trainable=False, optimizer=-1, as_drawn=True
        ),
        "most is in no optimizer": _run(flat(2.3), "--++", optimizer=-1),
    })  # fmt: skip
    good = Examples(
        lambda: {
            "all move": _run(flat(2.3), "++++"),
            "a frozen backbone, and a head that learns": _run(falling(2.3, 0.8), "--++", trainable=False, optimizer=-1),
            "as torch drew it, and learns well: fixed random features": _run(
                falling(2.3, 0.845), "--++", trainable=False, optimizer=-1, as_drawn=True
            ),
            "no gradient, and learns: another rule": _run(falling(2.3, 0.4), "--++"),
            "nine looks": _run(flat(2.3), "00++", looks=9),
            "an idle share just below the limit": _run(flat(2.3), "0+++", shape=(8, 80)),
            "a frozen share just below the limit": _run(
                flat(2.3), "-+++", trainable=False, optimizer=-1, shape=(64, 191)
            ),
            "frozen behind adapters": _adapted(),
            "too short to say": _run(flat(2.3, 12), "00++"),
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
        body = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8), nn.ReLU())
        head = nn.Linear(8, 10)
        model = nn.Sequential(body, head)
        optimizer = torch.optim.Adam([
            {"params": body.parameters(), "lr": 0.0},  # fix: {"params": body.parameters(), "lr": 3e-3},
            {"params": head.parameters(), "lr": 3e-3},
        ])

        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


_UNTRAINED = (
    "They were set not to train, and their values still lie as torch drew them at random: nothing was ever trained "
    "there, so what is behind them must make do with random features, and the loss"
)
_ROUTES = {
    NO_STEP: (
        "steps of size 0",
        Fix(
            "Give their group a learning rate:\n"
            + code('optimizer = torch.optim.Adam([{"params": model.parameters(), "lr": 1e-3}])')
        ),
    ),
    NO_GRADIENT: (
        "no gradient",
        Fix("Connect these layers to the loss: take out what cuts the graph, such as\n" + code("codes.detach()")),
    ),
    NOT_TRAINABLE: (
        "requires_grad is False",
        Fix("Let them train, if they were not trained before:\n" + code("model.requires_grad_(True)")),
    ),
    NOT_HELD: (
        "in no optimizer",
        Fix("Give the optimizer all parameters:\n" + code("optimizer = torch.optim.Adam(model.parameters())")),
    ),
}


def _cause(route: str, optimizer: Optimizer | None, state: str) -> str:
    if route == NO_STEP:
        zero = optimizer is not None and any(group.get("lr") == 0 for group in optimizer.groups)
        why = "has a group with a learning rate of 0" if zero else "takes steps that round to 0 in the weights' format"
        kind = optimizer.kind if optimizer else "optimizer"
        made = f" made at {at(optimizer.site)}" if optimizer and optimizer.site else ""
        return f"They receive gradients, but the {kind}{made} {why}; the loss {state}."
    if route == NO_GRADIENT:
        return f"The optimizer holds them, but no gradient arrives; the loss {state}."
    if route == NOT_TRAINABLE:
        return f"They were set not to train, and what is left cannot lower the loss: it {state}."
    return f"They are trainable, and no optimizer holds them; the loss {state}."


def _stands_still(seen: History, index: int) -> bool:
    """Whether it was the same before and after each step looked at."""
    if index >= seen.telemetry.parameters.shape[1]:
        return False
    moves = seen.telemetry.parameter("update_rms")[:, index]
    known = moves[np.isfinite(moves)]
    return bool(known.size >= 2 and not known.any())


def _is_called(seen: History, index: int) -> bool:
    """Whether its layer takes part: what is never called need not move."""
    layer = seen.parameters[index].layer
    return 0 <= layer < len(seen.layers) and seen.layers[layer].order >= 0


def _has_gradient(seen: History, index: int) -> bool:
    sizes = seen.telemetry.parameter("gradient_rms")[:, index]
    known = sizes[np.isfinite(sizes)]
    return bool(known.size and np.median(known) > 0)


def _count(parameters: Sequence[Parameter]) -> int:
    return sum(p.count for p in parameters)
