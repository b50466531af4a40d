"""Loops of which nobody learns anything: what they would do to a model is let go with it.

for x, y in loader:
    loss = loss_fn(model(x), y)     whose value is not read
    loss.backward()
print(torch.cuda.max_memory_allocated())        and behind which nobody names the model
"""

from __future__ import annotations

import re

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Item, Name, Value
from stethoscope.facts.expressions import names_in
from stethoscope.facts.loops import Loop
from stethoscope.facts.stepping import outermost_loop
from stethoscope.facts.things import followed
from stethoscope.facts.tried import JUDGED, is_read
from stethoscope.facts.uses import readings_of


def leaves_nothing(file: Code, loop: Loop, optimizer: Value | None) -> bool:
    """Whether nobody learns what a loop does to its models: they are made in its function and not named behind it, and
    neither a loss nor an answer is looked at.
    """
    passes, outer = loop.of("backward"), file.contexts[outermost_loop(file, loop.context)]
    losses = [one.subject for one in passes]
    if outer.kind not in ("for", "while") or any(one.via or one.code is not file for one in passes):
        return False
    if file.matches(JUDGED, outer.at) or any(is_read(file, one) for one in losses):
        return False
    given = optimizer.arguments[:1] if isinstance(optimizer, Call) else ()
    models = [name for one in given for name in names_in(one)]
    asked = [one.call for one in loop.of("forward") if one.call is not None and one.code is file]
    models += [one.receiver for one in asked if isinstance(one.receiver, Name)]
    last = file.functions[loop.function].at.end_line if loop.function else len(file.lines)
    behind = [line.partition("#")[0] for line in file.lines[outer.at.end_line : last]]
    return (
        bool(models)
        and all(_is_let_go(file, one, loop.function, behind) for one in models)
        and not any(_is_looked_at(file, one, losses) for one in asked)
    )


def _is_let_go(file: Code, model: Name, function: int, behind: list[str]) -> bool:
    """Whether a model is made in a function, and not named in what follows there."""
    if "." in model.name or model.binding == NOWHERE:
        return False
    binding = file.bindings[model.binding]
    is_own = binding.how == "assign" and file.function_at(binding.context) == function
    return is_own and not any(re.search(rf"\b{re.escape(model.name)}\b", line) for line in behind)


def _is_looked_at(file: Code, answer: Call, losses: list[Value | None]) -> bool:
    """Whether an answer of a model is read for something else than the losses."""
    spans = [found.at for loss in losses if (found := followed(file, loss)[0]) is not None]
    for number, binding in enumerate(file.bindings):
        if _stem(binding.value) is not answer:
            continue
        if "." in binding.name:
            return True
        for one in readings_of(file, number):
            if not any((at.line, at.column) <= one.at[:2] <= (at.end_line, at.end_column) for at in spans):
                return True
    return False


def _stem(value: Value | None) -> Value | None:
    """What a value is a part or a form of: `model(x)` of `model(x).logits` and `model(x).local_value()`."""
    while isinstance(value, Attribute | Item) or (isinstance(value, Call) and value.name.startswith(".")):
        value = value.receiver if isinstance(value, Call) else value.value
    return value
