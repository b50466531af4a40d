"""What a script does by hand that others leave to a call: gradients that it clears, fills or measures, modes and graphs
that it switches.
"""

from __future__ import annotations

import re

from stethoscope.facts.cleared_around import clears_around, hands_on_each_round
from stethoscope.facts.code import NOWHERE, At, Call, Code, Symbol
from stethoscope.facts.events import Event, name_of
from stethoscope.facts.loops import Loop
from stethoscope.facts.moved import may_move
from stethoscope.facts.origins import called
from stethoscope.facts.stepping import leaves_weights, outermost_loop
from stethoscope.facts.tried import is_no_training

_CLEARED = re.compile(
    r"\.grad\s*=\s*None|\.grad(?:\.data)?\.(?:zero_|fill_)\(|setattr\([^)]*[\"']grad[\"']|\bdel\b.*\.grad\b"
    r"|_foreach_(?:zero|mul)_\([^)]*grad|delattr\([^)]*[\"']grad[\"']|\b\w*(?:grad|flat|buf)\w*\.zero_\("
    r"|\b(\w+)\.grad(?:\.data)?(?:\s*=(?!=)|\.copy_\()(?!.*\b\1\.grad\b)"
)
"""What clears gradients beside `zero_grad`, in a line, or takes their place: `master.grad = copy.grad`."""
_FADED = re.compile(r"\.grad(?:\.data)?(?:\.(?:mul_|div_)\(|\s*[*/]=)|\.grad\s*=\s*.*\.grad\b")
"""What makes old gradients smaller, where it stands beside the backward pass and the step and not between the two."""
_CLOCK = re.compile(r"\.elapsed_time\(")
"""What measures how long a device takes, and no training."""
_LEFT_AT_ONCE = re.compile(r"\bif\s+\w+\s*(?:>=?|==)\s*[01]\s*:\s*(?:break\b.*)?$")
"""A condition on the number of a round that holds in the second one at the latest."""


def _passes_on(backward: Event) -> bool:
    """Whether a gradient is passed on by a method `backward` of a class: derivatives that are written out, which may
    replace those of the step before.
    """
    code, call = backward.code, backward.call
    function = code.functions[code.function_at(backward.context)]
    is_own = function.name == "backward" and code.class_of(code.function_at(backward.context)) != NOWHERE
    return is_own and call is not None and bool(call.arguments)


def is_handled_by_hand(file: Code, loop: Loop) -> bool:
    """Whether a loop, or a function of the file that it names, clears gradients by hand or lets them fade, or the loop
    measures time, is only tried, or is left in its second round: what its steps add up is meant, or does not matter.
    """
    if is_no_training(file, loop) or clears_around(file, loop):
        return True
    outer = file.contexts[outermost_loop(file, loop.context)].at
    home = outer if loop.is_loop else loop.at
    if file.matches(_CLEARED, home) or file.matches(_CLOCK, loop.at):
        return True
    if any(_passes_on(one) for one in loop.of("backward")):
        return True
    if loop.is_loop and outer == loop.at and _is_left_at_once(file, loop.at):
        return True
    events = [one for one in (*loop.of("backward"), *loop.of("step")) if one.code is file]
    lines = [one.at.line for one in events if not one.via]
    between = range(min(lines), max(lines) + 1) if lines else range(0)
    if any(
        _FADED.search(line.partition("#")[0])
        for number, line in enumerate(file.lines[home.line - 1 : home.end_line], start=home.line)
        if number not in between
    ):
        return bool(lines)
    named = {word for line in file.lines[home.line - 1 : home.end_line] for word in re.findall(r"\w+", line)}
    return any(one.name in named and file.matches(_CLEARED, one.at) for one in file.functions if one.context)


def _is_left_at_once(file: Code, at: At) -> bool:
    """Whether a loop ends with its second round: `if index > 0: break`."""
    lines = [line.partition("#")[0].rstrip() for line in file.lines[at.line - 1 : at.end_line]]
    return any(
        _LEFT_AT_ONCE.search(line) and ("break" in line or following.strip() == "break")
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
    )


_FILLED = re.compile(
    r"\._?grad(?:\.data)?\s*[-+]?=(?!=)|\._?grad(?:\.data)?\.(?:copy_|add_|set_)\(|setattr\([^)]*[\"']_?grad[\"']"
    r"|_foreach_(?:copy|add)_\([^)]*grad"
)
"""What writes gradients, in a line."""


def fills_gradients(code: Code, clearing: Event, step: Event) -> bool:
    """Whether gradients are written between their clearing and the step, there or in a function that is called."""
    between = At(clearing.at.line, 0, step.at.end_line, 0)
    if code.matches(_FILLED, between):
        return True
    callees = (called(code, one) for one in code.calls if between.line <= one.at.line <= between.end_line)
    return any(
        one.function is not None and one.code is not None and one.code.matches(_FILLED, one.function.at)
        for one in callees
    )


_OUT_OF_MEMORY = re.compile(r"\bexcept\b.*(?:\bRuntimeError\b|OutOfMemory)")


def asks_for_memory(event: Event) -> bool:
    """Whether the function of a step tries what fits the memory: its steps are to change nothing."""
    code = event.code
    index = code.function_at(event.context)
    return index > 0 and code.matches(_OUT_OF_MEMORY, code.functions[index].at)


def is_tried_or_sent(file: Code, loop: Loop) -> bool:
    """Whether a loop goes backward to see what fits the memory, what it costs, or that it goes through; or hands its
    model, behind its backward pass, to a method that is not seen, as a worker does that sends its gradients, or to what
    may move the weights or wants the gradients; or gives something out there.
    """
    if is_no_training(file, loop) or hands_on_each_round(file, loop):
        return True
    if file.matches(_WRITTEN, loop.at) or _is_handed_apart(file, loop):
        return True
    around = [file.contexts[number] for number in file.numbers_around(loop.context)]
    home = file.functions[loop.function].at if loop.function else loop.at
    if any(here.kind == "try" for here in around) and file.matches(_OUT_OF_MEMORY, home):
        return True
    models = {event.name for event in loop.of("forward")} - {""}
    dropped = {id(one.value) for one in file.bare}
    backward = max((one.call.number for one in loop.of("backward") if one.call is not None and not one.via), default=-1)
    return any(
        _is_sent(file, call, models) or may_move(file, call, models, loop.context)
        for call in file.calls[slice(*file.functions[loop.function].calls)]
        if id(call) in dropped and call.number > backward and loop.context in file.numbers_around(call.context)
    )


_WRITTEN = re.compile(r"vector_to_parameters\(|_foreach_(?:add|sub|copy)_\(")
"""What writes the weights of a whole model."""


def _is_handed_apart(file: Code, loop: Loop) -> bool:
    """Whether the optimizer is handed to a thread or a process, or kept in a call for later."""
    names = {event.outer_name for event in loop.of("zero")} - {""}
    words = "|".join(re.escape(one) for one in sorted(names))
    apart = rf"\bargs\s*=\s*[(\[][^)\]]*(?<![\w.])(?:{words})\b|\b(?:partial|submit)\([^)]*(?<![\w.])(?:{words})\b"
    return bool(words) and file.matches(re.compile(apart))


def _is_sent(file: Code, call: Call, models: set[str]) -> bool:
    """Whether a method of an object that is not seen is given a model itself."""
    if not call.name.startswith(".") or isinstance(call.receiver, Symbol) or called(file, call).function is not None:
        return False
    values = (*call.arguments, *(value for _, value in call.keywords))
    return any(name_of(file, one) in models for one in values) and not leaves_weights(file, call)


def sets_mode_by_hand(file: Code, names: set[str]) -> bool:
    """Whether a file keeps the method that switches a model to train mode by another name, or sets the attribute."""
    words = "|".join(re.escape(one) for one in sorted(names) if one)
    kept = re.compile(rf"\b(?:{words})\.train\b(?![ \t]*[(.\w])") if words else None
    return file.matches(_MODE_SET) or (kept is not None and file.matches(kept))


_MODE_SET = re.compile(r"\.training\s*=(?!=)|setattr\([^)]*[\"']training[\"']|[\"']train[\"'].*[\"']eval[\"']\)\(")

ENTERED = re.compile(r"\.__enter__\(\)|\.enter_context\(")
"""A context that is entered by a call, and left elsewhere."""
