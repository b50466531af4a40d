"""Trainings that end the program in their first round: a look at one batch that was left there.

for x, y in loader:
    optimizer.step()
    exit()              there is no second round, and nothing comes to what stands behind the loop
evaluate(model)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, At, Code

EXITS = ("builtins.exit", "builtins.quit", "sys.exit", "os._exit")
"""What ends the program."""
_TRAINS = re.compile(r"\.(?:backward|step|zero_grad)\(")
_GOES_ON = re.compile(r"\b(?:break|continue|return|yield|try)\b")
"""What may leave a round before the exit is come to."""
_PASSED = ("for", "while", "with")


def is_only_round(code: Code, loop: int) -> bool:
    """Whether a loop has no second round, as it ends the program in the first one, itself or by a loop in it."""
    return any(loop in _loops_around(code, one) for one in _left(code))


def only_rounds(code: Code) -> list[At]:
    """The trainings whose loop ends the program in its first round."""
    return [code.contexts[one].at for one in _left(code)]


def beyond(code: Code) -> list[At]:
    """What stands behind such loops, and functions of which nothing else speaks."""
    stretches = [_behind(code, one) for one in _left(code)]
    unused = [one.at for one in code.functions[1:] if stretches and _is_of(code, one.name, one.at, stretches)]
    return [*stretches, *unused]


def _left(code: Code) -> list[int]:
    """The innermost loops in which an exit stands under no condition."""
    if "left in a round" not in code.memo:
        code.memo["left in a round"] = [] if code.cells else list(dict.fromkeys(_found(code)))  # only its cell ends
    found: list[int] = code.memo["left in a round"]
    return found


def _found(code: Code) -> Iterator[int]:
    for call in code.calls_of(*EXITS):
        loop = next((one for one in _loops_around(code, call.context) if code.contexts[one].kind != "with"), NOWHERE)
        at = code.contexts[loop].at if loop != NOWHERE else call.at
        if loop != NOWHERE and code.matches(_TRAINS, at) and not code.matches(_GOES_ON, at):
            yield loop


def _loops_around(code: Code, context: int) -> Iterator[int]:
    """The loops and `with` blocks between a place and the next branch or function around it."""
    for number in code.numbers_around(context):
        if code.contexts[number].kind not in _PASSED:
            return
        yield number


def _behind(code: Code, loop: int) -> At:
    """What stands behind a loop, to the end of the branch, the function or the file around it."""
    around = list(code.numbers_around(loop))
    outer = next((one for one in around if code.contexts[one].kind not in _PASSED), 0)
    here = code.contexts[outer]
    last = len(code.lines) if here.kind == "module" else here.at.end_line
    return At(code.contexts[loop].at.end_line + 1, 0, last, 0)


def _is_of(code: Code, name: str, own: At, stretches: list[At]) -> bool:
    """Whether a function is spoken of, and only there."""
    said = re.compile(rf"\b{re.escape(name)}\b")
    lines = [
        number
        for number, line in enumerate(code.lines, 1)
        if not own.line <= number <= own.end_line and said.search(line.partition("#")[0])
    ]
    return bool(lines) and all(any(at.line <= number <= at.end_line for at in stretches) for number in lines)
