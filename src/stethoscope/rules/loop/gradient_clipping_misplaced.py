"""Gradients that are clipped where it changes nothing, or the wrong ones."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.facts.events import Event
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.origins import thing_of
from stethoscope.rules.changing import moved_behind
from stethoscope.rules.lines import line_of, place_in, way_to, where_event
from stethoscope.rules.sites import code


class GradientClippingMisplaced(Rule):
    """Gradients are clipped after the step, before the backward pass, or while they are scaled up.

    ## What it sees
    The order of the backward pass, clipping and step in a training loop that clears gradients each time; with a
    gradient scaler, clipping without `unscale_`.
    ## Why it hurts
    After the step, or before the backward pass, there is nothing left to clip: the step was taken with all of the
    gradient. Gradients that a scaler has multiplied by 65536 are cut to the limit nearly always, and become tiny when
    it divides them again.
    ## How to fix it
    `backward()`, then (with a scaler) `scaler.unscale_(optimizer)`, then clip, then step.
    ## When it is not a fault
    A norm that is only measured, for a log, as with a limit of infinity. Loops with several steps or backward passes,
    or with a step under a condition, are judged only where all gradients are certainly cleared between the clipping and
    the next step.
    ## Sources
    PyTorch documentation, "Automatic Mixed Precision examples: Gradient clipping"; `torch.nn.utils.clip_grad_norm_`.
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the order in loops of one backward pass and one step."""
        for loop in loops_of(file):
            clips, steps, backwards = loop.of("clip"), loop.of("step"), loop.of("backward")
            if loop.unclear or not clips or not steps or not backwards:
                continue
            if len(steps) != 1 or len(backwards) != 1 or steps[0].in_branch:
                late = next(_too_late(loop), None)
                if late is not None:
                    title = "gradients are clipped after the step"
                    yield self._read(file, loop, late[0], title, "after the step", late[1])
                continue
            order = {id(event): place for place, event in enumerate(loop.events)}
            first, last = order[id(clips[0])], order[id(clips[-1])]
            backward, step = order[id(backwards[0])], order[id(steps[0])]
            if backward > step or not loop.of("zero") or _is_measured(clips[0]):
                continue
            if first > step:
                yield self._read(file, loop, clips[0], "gradients are clipped after the step", "after the step")
            elif last < backward:
                yield self._read(
                    file, loop, clips[-1], "gradients are clipped before the backward pass", "before the backward pass"
                )
            elif backward < first < step and _is_scaled(steps[0]) and not _is_unscaled(file, loop):
                yield self._read(
                    file, loop, clips[0], "gradients are clipped while they are scaled up", "on scaled gradients"
                )

    def _read(self, file: Code, loop: Loop, clip: Event, title: str, how: str, taken: Event | None = None) -> Finding:
        step, backward = taken or loop.of("step")[0], _backward_before(loop, taken)
        scaled = _is_scaled(step)
        name = "optimizer" if scaled else step.name or "optimizer"
        cause = (
            "The scaler has multiplied the gradients, and divides them again in its step: the limit cuts numbers that "
            "are far larger than the gradients."
            if how == "on scaled gradients"
            else "The step uses the gradients as the backward pass left them; what is clipped elsewhere is cleared."
        )
        right = [f"scaler.unscale_({name})"] if scaled else []
        return self.finding(
            title,
            sureness=Sureness.CERTAIN,
            place=place_in(clip.code, clip.at),
            evidence=[
                Evidence(f"clipping on {where_event(file, clip)}, of the loop on {line_of(file, loop.at)}", how,
                         "between the backward pass and the step")
            ],
            cause=cause,
            fixes=[
                Fix(
                    "Clip between the backward pass and the step:\n"
                    + code(
                        "scaler.scale(loss).backward()" if scaled else "loss.backward()",
                        *right,
                        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
                        f"scaler.step({name})" if scaled else f"{name}.step()",
                    ),
                    edits=moved_behind(file, clip.at, backward.at)
                    if not scaled and clip.code is backward.code is file and clip.context == backward.context
                    else (),
                )
            ],
            unless="the norm is only measured.",
            chain=[
                *way_to(file, backward, "gradients are made"),
                *way_to(file, clip, "gradients are clipped"),
                *way_to(file, step, "the step is taken"),
            ],
        )  # fmt: skip

    on_trial = True
    bad_code = {
        "after the step": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # bad
            """,
        "before the backward pass": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # bad
                    loss.backward()
                    optimizer.step()
            """,
        "after a step now and then": """
            def train(model, loader, optimizer):
                optimizer.zero_grad()
                for i, (x, y) in enumerate(loader):
                    F.cross_entropy(model(x), y).backward()
                    if i % 4 == 3:
                        optimizer.step()
                        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # bad
                        optimizer.zero_grad()
            """,
        "after one of two steps": """
            def train(judge, maker, loader, judge_optimizer, optimizer):
                for x, y in loader:
                    judge_optimizer.zero_grad()
                    judge(x).mean().backward()
                    judge_optimizer.step()
                    torch.nn.utils.clip_grad_norm_(judge.parameters(), 1.0)  # bad
                    optimizer.zero_grad()
                    maker(y).mean().backward()
                    optimizer.step()
            """,
        "scaled gradients": """
            scaler = torch.amp.GradScaler()

            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    scaler.scale(F.cross_entropy(model(x), y)).backward()
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # bad
                    scaler.step(optimizer)
                    scaler.update()
            """,
    }
    good_code = {
        "between": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    optimizer.step()
            """,
        "between two steps of two optimizers": """
            def train(judge, maker, loader, judge_optimizer, optimizer):
                for x, y in loader:
                    judge_optimizer.zero_grad()
                    optimizer.zero_grad()
                    (judge(x).mean() + maker(y).mean()).backward()
                    judge_optimizer.step()
                    torch.nn.utils.clip_grad_norm_(maker.parameters(), 1.0)
                    optimizer.step()
            """,
        "a norm that is measured": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                    print(torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf")))
            """,
        "gradients that are kept for the next step": """
            def train(model, loader, optimizer):
                for i, (x, y) in enumerate(loader):
                    F.cross_entropy(model(x), y).backward()
                    if i % 4 == 3:
                        optimizer.step()
                        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    if i % 16 == 15:
                        optimizer.zero_grad()
            """,
        "unscaled first": """
            scaler = torch.amp.GradScaler()

            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    scaler.scale(F.cross_entropy(model(x), y)).backward()
                    scaler.unscale_(optimizer)
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    scaler.step(optimizer)
                    scaler.update()
            """,
        "a step every fourth time": """
            def train(model, loader, optimizer):
                for i, (x, y) in enumerate(loader):
                    if i % 4 == 0:
                        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                        optimizer.step()
                        optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
            """,
    }


def _is_scaled(step: Event) -> bool:
    """Whether a gradient scaler takes the step."""
    return step.call is not None and thing_of(step.code, step.call.receiver).kind == "scaler"


def _is_unscaled(file: Code, loop: Loop) -> bool:
    """Whether anything may divide the gradients before they are clipped."""
    return bool(loop.of("unscale")) or file.and_linked_say("unscale_")


def _too_late(loop: Loop) -> Iterator[tuple[Event, Event]]:
    """Clippings right behind a step, each with that step, where all gradients are cleared before another step reads
    them: what they cut is never used.
    """
    for place, clip in enumerate(loop.events):
        if clip.kind != "clip" or _is_measured(clip):
            continue
        before = next((one for one in reversed(loop.events[:place]) if one.kind in _ORDERED), None)
        if before is None or before.kind != "step" or before.outer_context not in _around(loop, clip):
            continue
        if _is_wasted(loop, place):
            yield clip, before


_ORDERED = ("step", "backward", "grad", "zero", "clip", "other", "unknown step")


def _is_wasted(loop: Loop, place: int) -> bool:
    """Whether the gradients are cleared between a clipping and the next step of each optimizer."""
    names = {one.outer_name for one in loop.of("step")}
    left = set(names)
    """Optimizers whose gradients the next step would read as they are."""
    clip = loop.events[place]
    for number, event in enumerate((*loop.events[place + 1 :], *loop.events[:place])):
        is_behind = number < len(loop.events) - place - 1
        if event.kind in ("other", "unknown step") or (event.kind == "step" and event.outer_name in left):
            return False
        is_met = is_behind and event.outer_context in _around(loop, clip)
        is_met = is_met or all(event.outer_context in _around(loop, one) for one in loop.of("step"))
        if event.kind == "zero" and (is_met or not event.in_branch):
            left -= names if len(names) == 1 else {event.outer_name}
            if not left:
                return True
    return False


def _around(loop: Loop, event: Event) -> tuple[int, ...]:
    return tuple(loop.code.numbers_around(event.outer_context))


def _backward_before(loop: Loop, step: Event | None) -> Event:
    """The last backward pass before a step; the first of all where there is none, or no step is given."""
    every = loop.of("backward")
    order = {id(event): place for place, event in enumerate(loop.events)}
    before = [one for one in every if step is not None and order[id(one)] < order[id(step)]]
    return before[-1] if before else every[0]


_INFINITE = re.compile(r"\binf(?:inity)?\b")


def _is_measured(clip: Event) -> bool:
    """Whether the limit is infinite: the call only measures."""
    limit = clip.call.argument(1, "max_norm") if clip.call is not None else None
    return limit is not None and _INFINITE.search(clip.code.text(limit.at)) is not None
