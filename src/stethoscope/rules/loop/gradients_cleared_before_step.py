"""Gradients that are cleared after they were computed and before they are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import KeepGradients
from stethoscope.facts.by_hand import asks_for_memory, fills_gradients
from stethoscope.facts.code import Code, Name, Site
from stethoscope.facts.events import Event
from stethoscope.facts.handed import is_handed
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.stepping import is_made_here
from stethoscope.facts.training import History, Optimizer
from stethoscope.rules.changing import moved_behind
from stethoscope.rules.lines import LONGEST, fitting, place_in, way_to, where_event
from stethoscope.rules.sites import at, code, place_at, receiver


def _run(**facts: Any) -> History:
    return History(steps=200, optimizers=(Optimizer("SGD", **facts),))


class GradientsClearedBeforeStep(Rule):
    """Gradients are cleared after the backward pass and before the step, so the step sees none.

    ## What it sees
    Gradients arrived in a backward pass, and were missing or zero again when the optimizer stepped.
    ## Why it hurts
    The step has nothing to follow: weights stay as they are, or move by weight decay and old momentum only.
    The script runs, prints a loss, and learns nothing.
    ## How to fix it
    Keep the order: clear, backward, step.
    ## When it is not a fault
    An odd step at which gradients are thrown away on purpose, because they were not finite for one. Steps
    like that are rare, and are not reported. In code what is handed over is possible at most where nothing says
    that it is one of torch's optimizers.
    ## Sources
    PyTorch documentation, "Optimizing Model Parameters": `loss.backward()`, `optimizer.step()`,
    `optimizer.zero_grad()`.
    """

    explains = (
        "collapsed-predictions",
        "learning-rate-too-low",
        "vanishing-gradients",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "frozen-parameters",
        "no-gain-over-baseline",
    )
    reads = ("loop",)
    treatments = (KeepGradients(),)

    fewest_steps = Limit(3, unit="steps", why="one or two steps may drop their gradients on purpose")
    share = Limit(0.5, unit="share of watched steps", why="gradients dropped now and then are a guard")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Count the steps that found their gradients cleared."""
        for optimizer in seen.optimizers:
            lost = optimizer.cleared_before_step
            if optimizer.watched == 0:
                yield self.cannot_tell(f"no step of {optimizer.kind} was watched")
            elif lost >= self.fewest_steps and lost >= self.share * optimizer.watched:
                yield self._report(optimizer, seen)

    def _report(self, optimizer: Optimizer, seen: History) -> Finding:
        name = receiver(optimizer.step_site, "step", "optimizer")
        lost = f"{optimizer.cleared_before_step} of {optimizer.watched}"
        return self.finding(
            f"gradients are cleared before the step that needs them: {lost} steps",
            sureness=Sureness.CERTAIN,
            place=place_at(optimizer.clear_site or optimizer.step_site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(f"watched steps of {optimizer.kind} that found no gradients", lost, "0"),
                Evidence("gradients are cleared at", at(optimizer.clear_site), "before the backward pass"),
                Evidence("gradients are used at", at(optimizer.step_site), "before they are cleared again"),
            ],
            cause="The backward pass brought gradients, and they were cleared before the step, which had "
            "nothing to follow.",
            fixes=[
                "Clear first, then compute, then step:\n"
                + code(f"{name}.zero_grad()", "loss.backward()", f"{name}.step()")
            ],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for a clearing between a backward pass and the step, all in one go."""
        for loop in loops_of(file):
            order = loop.of("zero", "backward", "step")
            for before, clearing, step in zip(order, order[1:], order[2:], strict=False):
                if (before.kind, clearing.kind, step.kind) != ("backward", "zero", "step") or loop.unclear:
                    continue
                if _is_its_own(loop, clearing, step) and _is_on_the_way(clearing, step):
                    yield self._read(file, before, clearing, step)

    def _read(self, file: Code, backward: Event, clearing: Event, step: Event) -> Finding:
        name = step.name or "the optimizer"
        is_known = is_made_here(file, step) or is_handed(file, step)
        return self.finding(
            fitting(
                f"gradients are cleared before `{name}` uses them", "gradients are cleared before the step uses them"
            ),
            sureness=Sureness.CERTAIN if is_known and not asks_for_memory(step) else Sureness.POSSIBLE,
            place=place_in(clearing.code, clearing.at),
            evidence=[
                Evidence(
                    "order of the calls",
                    f"backward ({where_event(file, backward)}), clear ({where_event(file, clearing)}), "
                    f"step ({where_event(file, step)})",
                    "clear, backward, step",
                ),
            ],
            cause="What `backward()` computed is thrown away before the step, which finds no gradients.",
            fixes=[
                Fix(
                    "Clear first:\n" + code(f"{name}.zero_grad()", _backward(file, backward), f"{name}.step()"),
                    edits=moved_behind(file, clearing.at, step.at)
                    if clearing.code is step.code is file and clearing.context == step.context
                    else (),
                )
            ],
            chain=[
                *way_to(file, backward, "gradients are computed"),
                *way_to(file, clearing, "and cleared"),
                *way_to(file, step, "the step finds none"),
            ],
        )

    bad = Examples(
        lambda: {
            "every step": _run(
                watched=9,
                cleared_before_step=9,
                clear_site=Site("train.py", 20, "", "opt.zero_grad()"),
                step_site=Site("train.py", 21, "", "opt.step()"),
            ),
            "three of six": _run(watched=6, cleared_before_step=3),
        }
    )
    good = Examples(
        lambda: {
            "the usual order": _run(watched=9),
            "thrown away twice in two steps": _run(watched=2, cleared_before_step=2),
            "thrown away whenever it is not finite": _run(watched=100, cleared_before_step=49),
            "no gradients ever arrived": _run(watched=9, without_backward=9, without_gradient=9),
            "nothing watched": _run(),
        }
    )
    bad_code = {
        "cleared between": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.zero_grad()  # bad
                    optimizer.step()
            """,
        "the model's gradients, in the step function": """
            def step(model, optimizer, x, y):
                F.cross_entropy(model(x), y).backward()
                model.zero_grad()  # bad
                optimizer.step()

            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                step(model, optimizer, x, y)
            """,
    }
    good_code = {
        "the usual order": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "step, then clear": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                    optimizer.zero_grad()
            """,
        "those of another optimizer": """
            def train(critic, actor, loader, opt_critic, opt_actor):
                for x in loader:
                    critic(actor(x)).mean().backward()
                    opt_critic.zero_grad()
                    opt_actor.step()
            """,
        "only where something went wrong": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    if not torch.isfinite(loss):
                        optimizer.zero_grad()
                    optimizer.step()
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
                # add: optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.zero_grad()  # fix:
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _backward(file: Code, event: Event) -> str:
    """The backward pass as it is written, or as it usually is where that is in another file, or long."""
    call = event.call
    said = file.text(call.at) if call is not None and event.code is file and not event.via else ""
    is_short = said and len(said) <= LONGEST and call is not None and call.at.line == call.at.end_line
    if is_short or call is None or not said or not isinstance(call.receiver, Name):
        return said if is_short else "loss.backward()"
    return f"{file.text(call.receiver.at)}{call.name}(...)"


def _is_its_own(loop: Loop, clearing: Event, step: Event) -> bool:
    """Whether the gradients that are cleared are those that the step needs."""
    if clearing.name and clearing.name == step.name and clearing.code is step.code:
        return True
    steppers = {event.name for event in loop.of("step")}
    is_model = clearing.thing.kind == "module" or clearing.name.rpartition(".")[2] in ("model", "net")
    return is_model and len(steppers) == 1


def _is_filled(clearing: Event, step: Event) -> bool:
    """Whether gradients are written by hand between the two: those that were kept, or averaged."""
    return clearing.code is step.code and fills_gradients(step.code, clearing, step)


def _is_on_the_way(clearing: Event, step: Event) -> bool:
    """Whether the step is never reached without the clearing, and finds nothing else."""
    if _is_filled(clearing, step):
        return False
    if clearing.via != step.via:
        return not clearing.in_branch
    branches = ("if", "else", "except")
    around = set(step.code.numbers_around(step.context))
    return all(
        number in around
        for number in clearing.code.numbers_around(clearing.context)
        if clearing.code.contexts[number].kind in branches
    )
