"""A gradient scaler that scales the loss, and an optimizer that steps past it."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.events import Event
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import followed
from stethoscope.rules.lines import fitting, line_of, place_in, way_to, where_event
from stethoscope.rules.sites import code


class ScalerBypassed(Rule):
    """The loss is scaled for the backward pass, and the optimizer steps with the scaled gradients.

    ## What it sees
    A training loop with `scaler.scale(loss).backward()` in which the optimizer steps by itself, nothing is unscaled,
    and the scaler never steps; or a scaler that steps and is never updated.
    ## Why it hurts
    The gradients are 65536 times too large when the optimizer uses them, and overflowed ones are not left out:
    plain gradient descent diverges, and clipping cuts everything. Without `update()` the second step raises an error.
    ## How to fix it
    `scaler.step(optimizer)` in place of `optimizer.step()`, then `scaler.update()`.
    ## When it is not a fault
    Loops that divide the gradients themselves, or call `unscale_`. Those are not reported.
    ## Sources
    PyTorch documentation, "Automatic Mixed Precision examples: Typical Mixed Precision Training".
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for steps in loops whose backward passes are scaled."""
        for loop in loops_of(file):
            backwards, steps = loop.of("backward"), loop.of("step")
            if loop.unclear or not steps or not backwards or not all(_is_scaled(event) for event in backwards):
                continue
            by_scaler = [event for event in steps if _by_scaler(event)]
            touched = loop.of("unscale", "mode") or file.and_linked_say("unscale_", ".get_scale(", ".grad.")
            if not by_scaler and not touched and not any(event.via for event in steps):
                yield self._bypassed(file, loop, steps[0])
            elif by_scaler and loop.is_loop and not file.and_linked_say(".update("):
                yield self._never_updated(file, loop, by_scaler[0])

    def _bypassed(self, file: Code, loop: Loop, step: Event) -> Finding:
        name = step.name or "optimizer"
        backward = loop.of("backward")[0]
        return self.finding(
            fitting(f"`{name}` steps with gradients that are still scaled", "a step uses gradients still scaled"),
            sureness=Sureness.CERTAIN,
            place=place_in(step.code, step.at),
            evidence=[
                Evidence(f"scale of the gradients at the step, of the loop on {line_of(file, loop.at)}", "65536 at "
                         "first", "1", "the scaler's default"),
            ],
            cause=f"The backward pass on {where_event(file, backward)} multiplies the loss, and only the scaler's own "
            "step divides the gradients again.",
            fixes=["Let the scaler take the step:\n" + code(f"scaler.step({name})", "scaler.update()")],
            chain=[*way_to(file, backward, "gradients are scaled up"), *way_to(file, step, "they are used as such")],
        )  # fmt: skip

    def _never_updated(self, file: Code, loop: Loop, step: Event) -> Finding:
        return self.finding(
            "the gradient scaler is never updated",
            sureness=Sureness.CERTAIN,
            place=place_in(step.code, step.at),
            evidence=[Evidence(f"calls of `update` for the loop on {line_of(file, loop.at)}", 0, "1 for each step")],
            cause="`update()` ends a step of the scaler: without it the second `scaler.step()` raises an error.",
            fixes=["Update it after each step:\n" + code(f"scaler.step({step.name})", "scaler.update()")],
            chain=[*way_to(file, step, "the scaler steps")],
        )

    bad_code = {
        "past the scaler": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scaler = torch.cuda.amp.GradScaler()
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                scaler.scale(F.cross_entropy(model(x), y)).backward()
                optimizer.step()  # bad
                scaler.update()
            """,
        "never updated": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scaler = torch.amp.GradScaler("cuda")
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                loss = scaler.scale(F.cross_entropy(model(x), y))
                loss.backward()
                scaler.step(optimizer)  # bad
            """,
    }
    good_code = {
        "by the scaler": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scaler = torch.amp.GradScaler("cuda")
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                scaler.scale(F.cross_entropy(model(x), y)).backward()
                scaler.step(optimizer)
                scaler.update()
            """,
        "one way or the other": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scaler = torch.amp.GradScaler("cuda")

            def train(half):
                for x, y in torch.load("data"):
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    if half:
                        scaler.scale(loss).backward()
                        scaler.step(optimizer)
                        scaler.update()
                    else:
                        loss.backward()
                        optimizer.step()
            """,
        "divided by hand": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scaler = torch.amp.GradScaler("cuda")
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                scaler.scale(F.cross_entropy(model(x), y)).backward()
                scaler.unscale_(optimizer)
                optimizer.step()
            """,
    }


def _is_scaled(backward: Event) -> bool:
    """Whether what goes backward is what a gradient scaler has made of a loss."""
    loss, _ = followed(backward.code, backward.subject)
    return (
        isinstance(loss, Call) and loss.name == ".scale" and thing_of(backward.code, loss.receiver).kind == "scaler"
    )  # fmt: skip


def _by_scaler(step: Event) -> bool:
    return step.call is not None and thing_of(step.code, step.call.receiver).kind != "optimizer"
