"""Whether a loop in which a model is evaluated goes over other data than the training does."""

from __future__ import annotations

from stethoscope.facts.code import Code
from stethoscope.facts.evaluations import Evaluation
from stethoscope.facts.loops import loops_of
from stethoscope.facts.things import iterated


def goes_over_another(file: Code, found: Evaluation) -> bool:
    """Whether a loop beside the training reads the model's answers to other data than the training goes over, or to the
    same when all training is done.
    """
    loops = [loop for loop in loops_of(file) if loop.is_loop]
    trained_on = {_source(file, loop.context) for loop in loops}
    source = _source(file, found.context)
    is_after = all(found.at.line > file.contexts[_outermost(file, loop.context)].at.end_line for loop in loops)
    is_another = bool(source) and (source not in trained_on or (is_after and not _is_inside_loop(file, found.context)))
    return found.is_fed and found.is_read and bool(trained_on) and is_another


def _outermost(file: Code, context: int) -> int:
    return next((n for n in reversed(_around(file, context)) if file.contexts[n].kind in ("for", "while")), context)


def _is_inside_loop(file: Code, context: int) -> bool:
    return any(file.contexts[n].kind in ("for", "while") for n in _around(file, file.contexts[context].parent))


def _around(file: Code, context: int) -> list[int]:
    """What is around something, innermost first, up to its function."""
    found = []
    for number in file.numbers_around(context):
        if file.contexts[number].kind == "function":
            break
        found.append(number)
    return found


def _source(file: Code, loop: int) -> str:
    """What a loop goes over, as it is written."""
    value, _ = iterated(file, file.contexts[loop].value)
    return file.text(value.at) if value is not None else ""
