"""Validation that builds graphs which nobody uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Site
from stethoscope.facts.training import History, ValidationPass
from stethoscope.rules.sites import at, code, place_at


def _run(*steps: int, **facts: Any) -> History:
    usual: dict[str, Any] = {"forwards": 10, "in_train_mode": 0, "graphs": 10, "loss_calls": 10, "samples": 640}
    site = Site("train.py", 30, "", "output = model(x)")
    return History(steps=200, validation=tuple(ValidationPass(step, site=site, **(usual | facts)) for step in steps))


class ValidationBuildsGraph(Rule):
    """Validation runs with gradients on, and builds graphs that nobody uses.

    ## What it sees
    Forward passes in eval mode whose outputs have a graph and on which neither a backward pass nor
    `torch.autograd.grad` follows, again and again.
    ## Why it hurts
    With gradients on, every layer keeps its inputs for a backward pass that never comes. Validation takes several
    times the memory, so that it may run out of it at batch sizes that `no_grad` would hold, and it takes more time.
    ## How to fix it
    Put the validation loop into `with torch.no_grad():`, or decorate its function with `@torch.no_grad()`.
    ## When it is not a fault
    The numbers are right either way. A single pass at the end of a script costs next to nothing and is not reported;
    passes that choose actions or make samples, without a loss, are a note at most.
    ## Sources
    PyTorch documentation, "Autograd mechanics", section "No-grad Mode"; "Frequently Asked Questions", "My model
    reports cuda runtime error(2): out of memory".
    """

    severity = Severity.WARNING
    reads = ("validation",)

    passes = Limit(3, unit="validation passes", why="one or two passes, as after training, waste little")
    forwards = Limit(
        2, unit="forward passes with a graph in each", why="a single one holds no more than a training step does"
    )
    gap = Limit(
        4, unit="steps from one pass to the next", why="a forward pass beside each step belongs to the training itself"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Count the passes that built graphs."""
        if not seen.validation:
            yield self.cannot_tell("no validation data passed through the model")
            return
        found = [p for p in seen.validation if p.graphs >= self.forwards and not p.differentiated]
        if len(found) < self.passes:
            return
        steps = np.unique([p.step for p in found])
        if len(steps) < self.passes or float(np.median(np.diff(steps))) < self.gap:
            return
        yield self._report(seen, found)

    def _report(self, seen: History, found: Sequence[ValidationPass]) -> Finding:
        forwards = sum(p.graphs for p in found)
        return self.finding(
            f"{len(found)} validation passes build graphs that nobody uses",
            severity=Severity.WARNING if any(p.loss_calls for p in found) else Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=place_at(found[-1].site, steps=(found[0].step, found[-1].step)),
            evidence=[
                Evidence(
                    "forward passes in eval mode with a graph and no backward pass after them",
                    f"{forwards:,} in {len(found)} passes",
                    "0",
                )
            ],
            cause=f"Gradients are on at {at(found[-1].site)}, so each layer keeps its inputs for a backward pass that "
            "never comes: memory for nothing, and time.",
            fixes=["Switch gradients off round validation:\n" + code("with torch.no_grad():", "    validate(model)")],
        )

    bad = Examples(
        lambda: {
            "three epochs": _run(22, 44, 66),
            "four steps apart": _run(4, 8, 12),
            "two forwards in each": _run(22, 44, 66, 88, forwards=2, graphs=2, loss_calls=2),
            "accuracy alone": _run(22, 44, 66, loss_calls=0),
        }
    )
    good = Examples(
        lambda: {
            "without gradients": _run(22, 44, 66, graphs=0),
            "two passes": _run(100, 200),
            "one forward in each": _run(22, 44, 66, 88, forwards=1, graphs=1, loss_calls=1),
            "derivatives of the outputs are taken": _run(22, 44, 66, differentiated=True),
            "every third step": _run(3, 6, 9, 12),
            "several at the end": _run(200, 200, 200),
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
        train, held_out = order[:1000], order[1000:]
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def validate():
            model.eval()
            loss = 0.0
            for rows in held_out.split(100):
                loss += nn.functional.cross_entropy(model(images[rows]), labels[rows]).item() / 8
            return loss

        for epoch in range(10):
            model.train()
            for rows in train[torch.randperm(len(train))].split(50):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
            score = validate()  # fix: score = torch.no_grad()(validate)()
            print(f"epoch {epoch}: loss {score:.4f}")
        """)
