"""Gradients that no optimizer ever applies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import TakeSteps
from stethoscope.facts.code import Code, Name, Site
from stethoscope.facts.loops import loops_of
from stethoscope.facts.origins import thing_of
from stethoscope.facts.training import History, Loop, Optimizer
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import at, code, place_at


def _run(finished: bool = True, **facts: Any) -> History:
    return History(optimizers=(Optimizer("SGD", num_parameters=4, **facts),), finished=finished)


class MissingOptimizerStep(Rule):
    """Gradients are computed but no optimizer ever applies them.

    ## What it sees
    An optimizer that was made and never stepped, backward passes that brought gradients to its parameters,
    and weights that are still what they were at the start.
    ## Why it hurts
    `backward()` only fills `.grad`. Without `step()` no weight moves, and the loss stays what it was.
    ## How to fix it
    Call `optimizer.step()` after `backward()`.
    ## When it is not a fault
    Gradient accumulation: several backward passes belong to one step, so a run that is still going on must
    have made many passes before this is said. Weights updated by hand move, and steps left out by a
    gradient scaler are counted as such; neither is reported.
    ## Sources
    PyTorch documentation, "Optimizing Model Parameters".
    """

    explains = (
        "collapsed-predictions",
        "learning-rate-too-low",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "frozen-parameters",
        "no-gain-over-baseline",
        "missing-zero-grad",
    )
    reads = ("loop",)
    treatments = (TakeSteps(),)

    fewest_passes = Limit(8, unit="backward passes", why="a short run may end before its first step")
    passes_while_running = Limit(256, unit="backward passes", why="more than are accumulated for one step in practice")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Look for optimizers with gradients, without a step, with weights that stood still."""
        if not seen.optimizers:
            yield self.cannot_tell("no optimizer was made")
        needed = self.fewest_passes if seen.finished else self.passes_while_running
        for optimizer in seen.optimizers:
            if optimizer.steps or optimizer.skipped_steps or optimizer.backwards_since_step < needed:
                continue
            if optimizer.parameters_moved is None:
                yield self.cannot_tell(f"the weights of {optimizer.kind} were not looked at")
            elif not optimizer.parameters_moved:
                yield self._report(optimizer, seen)

    def _report(self, optimizer: Optimizer, seen: History) -> Finding:
        passes = optimizer.backwards_since_step
        # Of several optimizers, it is not known which backward pass is whose.
        site = seen.loop.backward_sites[0] if seen.loop.backward_sites and len(seen.optimizers) == 1 else None
        line = optimizer.site.text if optimizer.site else ""
        made = re.findall(rf"([A-Za-z_][\w.]*)\s*=\s*[\w.]*{optimizer.kind}\(", line)
        name = made[0] if len(made) == 1 else "optimizer"
        named = f"`{name}`" if len(made) == 1 else optimizer.kind
        title = f"{passes} backward passes and no step: {named} moved no weight"
        return self.finding(
            title if len(title) <= 72 else f"{passes} backward passes and no step: {optimizer.kind} moved no weight",
            sureness=Sureness.CERTAIN,
            place=place_at(site or optimizer.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"steps of {optimizer.kind}, made at {at(optimizer.site)}",
                    f"0 in {passes} backward passes",
                    "1 after each backward pass, or after each group of them",
                ),
                Evidence("tensors whose weights changed since the start", 0, optimizer.num_parameters, "sampled"),
            ],
            cause="The backward passes fill the gradients, and nothing applies them to the weights.",
            fixes=["Step after its backward pass:\n" + code("loss.backward()", f"{name}.step()")],
            unless="the gradients themselves are what the script is after.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for a loop that goes backward, in files that make an optimizer and never step."""
        if not loops_of(file) or any(one.matches(STEPPING) for one in (file, *file.linked.values())):
            return
        made = [call for call in file.calls if call.receiver is None and thing_of(file, call).kind == "optimizer"]
        given = {id(value) for call in file.calls for value in call.arguments}
        for loop in loops_of(file):
            backward = loop.of("backward")[0]
            if loop.unclear or not loop.is_loop or len(made) != 1 or id(made[0]) in given:
                continue
            name = next((b.name for b in file.bindings if b.value is made[0]), "optimizer")
            if _is_handed_on(file, name):
                continue
            yield self.finding(
                fitting(f"`{name}` is made, and never steps", "an optimizer is made, and never steps"),
                sureness=Sureness.CERTAIN,
                place=place_in(backward.code, backward.at),
                evidence=[
                    Evidence(
                        f"steps of the optimizer that is made on {line_of(file, made[0].at)}",
                        0,
                        "1 for each backward pass",
                        "read in this file and those that it imports",
                    )
                ],
                cause="Gradients are computed and nothing applies them: the weights stay as they were drawn.",
                fixes=["Step after the backward pass:\n" + code("loss.backward()", f"{name}.step()")],
            )

    bad = Examples(
        lambda: {
            "never stepped": History(
                optimizers=(
                    Optimizer(
                        "Adam",
                        Site("train.py", 9, "", "opt = torch.optim.Adam(model.parameters())"),
                        num_parameters=6,
                        backwards_since_step=400,
                        parameters_moved=False,
                    ),
                ),
                loop=Loop(backward_calls=400, backward_sites=(Site("train.py", 20, "", "loss.backward()"),)),
            ),
            "eight passes in a finished run": _run(backwards_since_step=8, parameters_moved=False),
            "many passes in a run that goes on": _run(False, backwards_since_step=256, parameters_moved=False),
        }
    )
    good = Examples(
        lambda: {
            "steps each time": _run(steps=100, backwards_since_step=0, parameters_moved=True),
            "accumulates when the run ends": _run(steps=3, backwards_since_step=31, parameters_moved=True),
            "seven passes": _run(backwards_since_step=7, parameters_moved=False),
            "accumulates still": _run(False, backwards_since_step=255, parameters_moved=False),
            "moved by hand": _run(backwards_since_step=400, parameters_moved=True),
            "skipped by a gradient scaler": _run(backwards_since_step=9, skipped_steps=9, parameters_moved=False),
            "weights not looked at": _run(backwards_since_step=400),
        }
    )
    bad_code = {
        "no step": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()  # bad
            """,
    }
    good_code = {
        "a step": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
        "handed on": """
            from elsewhere import train
            import torch

            model = torch.nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            train(model, optimizer)
            for x in torch.load("data"):
                model(x).sum().backward()
            """,
        "no optimizer": """
            model = nn.Linear(3, 2)
            for x in torch.load("data"):
                model(x).sum().backward()
                print(model.weight.grad)
            """,
    }
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
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                # add: optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


STEPPING = re.compile(r"step\b|\.prepare\(|\.setup\(|\bfit\b")


def _is_handed_on(file: Code, name: str) -> bool:
    """Whether an optimizer is given to something that may step it."""
    values = (value for call in file.calls for value in (*call.arguments, *(v for _, v in call.keywords)))
    return any(isinstance(value, Name) and value.name.rpartition(".")[2] == name.rpartition(".")[2] for value in values)
