"""Whether anything around an optimizer's step goes backward or speaks of gradients, and what is near and does not."""

from __future__ import annotations

import re

from stethoscope.facts.code import At, Code, Constant
from stethoscope.facts.events import Event, events_of
from stethoscope.facts.gradient_words import says_gradients
from stethoscope.facts.other_rounds import lines_of_passes, passes_of_others

LOOPS = ("for", "while")
OWN_GRADIENTS = re.compile(
    r"\.grad\b|autograd(?!\.Variable| import Variable|\.profiler|\.set_detect|\.detect_anomaly)"
    r"|(?<!require_)(?<!post_)(?<!after_)(?<!before_)(?<!pre_)backward(?!_(?:ctx|context|sync)\b)|\.apply_grad|\bgrads?\b(?!_)",
    re.I,
)
ONLY_READ = re.compile(
    r"is(?:nan|inf|finite)\([\w.]+\.grad\)|\.grad(?: is (?:not )?None|\[.*\]\s*=\s*0|(?:\.data)?\s*[*/]=|\s*=\s*None\b)"
    r"|\.grad(?:\.data)?\.(?:clamp_|mul_|div_|norm)\(|\w+\s*=\s*[\w.]+\.grad\s*$|^\s*return [\w, ]+$"
)
"""Gradients that are looked at, or changed where they are: this makes none."""
CLIPS = re.compile(r"clip|learning_?rate|_lr|lr_", re.I)
"""Names of functions that are given an optimizer or a model and only bound its gradients, or set rates."""
KEEPS = re.compile(r"(?:^|[._])(?:(?:gradients?|grad)[._](?:norm|stat)\w*|(?:save_)?checkpoint(?:\.save)?|reset_\w+)$")
"""Names of those that measure its gradients, keep a checkpoint, or bring states to their begin."""


def has_gradients(file: Code, index: int, home: int, step: Event) -> bool:
    """Whether something around a step goes backward or says gradients, so far as it can be seen, and is not for another
    optimizer.
    """
    loops = loops_around(file, home)
    others = passes_of_others(file, index, step)
    for event in events_of(file, index):
        if any(event is one for one in others) or (event.kind == "other" and _is_instead(file, event, step)):
            continue
        is_there = bool(set(file.numbers_around(event.outer_context)) & loops)
        clips = event.kind == "other" and (_only_bounds(event) or _is_of_settings(event))
        if is_there and event.kind in ("backward", "grad", "other") and not clips and not _is_of_inputs(event):
            return True
    places = [file.contexts[number].at for number in loops] + (_lines_beside(file, index, home) if index else [])
    derives = any(_is_of_inputs(event) for event in events_of(file, index))
    words = _SETS_GRADIENTS if derives else OWN_GRADIENTS
    besides = lines_of_passes(others)
    return any(says_gradients(file, words, at, without=ONLY_READ, besides=besides) for at in places)


def _is_instead(file: Code, event: Event, step: Event) -> bool:
    """Whether something is done in one branch of a condition and the step in the other."""
    sides = [
        {(here.value, here.parent): here.kind for here in file.around(context) if here.kind in ("if", "else")}
        for context in (event.outer_context, step.context)
    ]
    return any(sides[1].get(key, kind) != kind for key, kind in sides[0].items())


def _only_bounds(event: Event) -> bool:
    """Whether what is given an optimizer bounds its gradients, sets its rate, or keeps it."""
    if event.call is None:
        return False
    text = event.code.text(event.call.at)
    return bool(CLIPS.search(text) or KEEPS.search(text.partition("(")[0]))


def _is_of_settings(event: Event) -> bool:
    """Whether what is named as an optimizer is none but settings: `opt.batch_size` stands beside it."""
    return event.thing.kind == "unknown" and event.name == "opt" and event.code.matches(_SETTINGS)


_SETTINGS = re.compile(
    r"\bopt\.(?!step|zero_grad|param|state|load_state|add_param|defaults|lr|lear|update|optim|minimize|apply)[a-z]"
)
"""What an optimizer does not have."""


def _is_of_inputs(event: Event) -> bool:
    """Whether a derivative becomes a part of the loss, as of an answer by the place where it is asked for."""
    if event.kind != "grad" or event.call is None:
        return False
    by = event.call.argument(1, "inputs")
    kept = next((one for name, one in event.call.keywords if name == "create_graph"), None)
    is_kept = isinstance(kept, Constant) and kept.value is True
    return is_kept and by is not None and not _WEIGHTS.search(event.code.text(by.at))


_WEIGHTS = re.compile(r"param|weight|theta|model|net", re.I)
_SETS_GRADIENTS = re.compile(r"(?<!autograd)\.grad\b|backward|apply_grad|set_grad|(?<!\w)grads?\s*\)", re.I)


def _lines_beside(file: Code, index: int, home: int) -> list[At]:
    """A function's lines, without those of other loops than that around a step: what goes backward there is done with
    before this one begins, or comes behind it.
    """
    at = file.functions[index].at
    others = [
        here.at
        for number, here in enumerate(file.contexts)
        if here.kind in LOOPS
        and at.line <= here.at.line <= at.end_line
        and not (here.at.line <= file.contexts[home].at.line and file.contexts[home].at.end_line <= here.at.end_line)
    ]
    found, line = [], at.line
    for one in sorted(others):
        if one.line > line:
            found.append(At(line, 0, one.line - 1, 0))
        line = max(line, one.end_line + 1)
    return [*found, At(line, 0, at.end_line, 0)]


def loops_around(file: Code, home: int) -> set[int]:
    """The loops around a round, and the round itself."""
    return {number for number in file.numbers_around(home) if file.contexts[number].kind in LOOPS} | {home}
