"""What says that a loop is to learn something, and not to get at gradients, a time or a size: it has targets, or
somebody looks at it.

for x, y in loader:
    optimizer.zero_grad()
    loss = loss_fn(model(x), y)
    loss.backward()
    total += loss.item()            how large the loss is
torch.save(model.state_dict(), "model.pt")      or the model is kept, or judged
"""

from __future__ import annotations

import re

from stethoscope.facts.code import Attribute, Call, Code, Item, Value
from stethoscope.facts.expressions import names_in
from stethoscope.facts.loops import Loop
from stethoscope.facts.stepping import outermost_loop
from stethoscope.facts.things import MOST_STEPS, binding_of, followed
from stethoscope.facts.tried import is_read

_KEPT_OR_JUDGED = re.compile(
    r"\.state_dict\(|\bsave_pretrained\(|\bsave_checkpoint\(|\btorch\.save\(|\.eval\(\)|\bno_grad\(|inference_mode\("
    r"|\b(?:evaluat|validat|test|predict|accurac)\w*\(|\bearly_?stop",
    re.I,
)
"""What is done with a model that was to learn."""


def is_wanted(file: Code, loop: Loop) -> bool:
    """Whether a loop that goes backward is given targets, or somebody reads its loss, keeps or judges a model in its
    rounds or behind them, or names it there. What a call goes backward for may do so there.
    """
    for one in loop.of("backward"):
        if one.via or one.code is not file or is_read(file, one.subject) or _has_targets(file, one.subject):
            return True
    outer = file.contexts[outermost_loop(file, loop.context)].at
    last = file.functions[loop.function].at.end_line if loop.function else len(file.lines)
    lines = [line.partition("#")[0] for line in file.lines[outer.line - 1 : last]]
    models = "|".join(re.escape(one.name) for one in loop.of("forward") if one.name and "." not in one.name)
    is_named = re.compile(rf"\b(?:{models})\b") if models else None
    behind = lines[outer.end_line - outer.line + 1 :]
    return any(map(_KEPT_OR_JUDGED.search, lines)) or (is_named is not None and any(map(is_named.search, behind)))


def _has_targets(file: Code, loss: Value | None) -> bool:
    """Whether a loss is given, beside an answer, what a loop goes over: `for x, y in loader: loss_fn(model(x), y)`."""
    binding = binding_of(file, loss)
    if binding is not None and binding.how == "with" and isinstance(binding.value, Call):
        loss = binding.value.argument(0)  # apex: `with amp.scale_loss(loss, optimizer) as scaled`
    made, _ = followed(file, loss)
    if not isinstance(made, Call):
        return False
    given = (*made.arguments[1:], *(one for _, one in made.keywords))
    return any(_is_of_loop(file, name) for one in given for name in names_in(one))


def _is_of_loop(file: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a variable is one of a loop, or was taken out of one, or of what is gone through by hand."""
    while isinstance(value, Attribute | Item):
        value = value.value
    if isinstance(value, Call):
        moved = value.receiver if value.name in _MOVED else None
        return value.name == "builtins.next" or (moved is not None and _is_of_loop(file, moved, depth))
    binding = binding_of(file, value)
    if binding is None or depth > MOST_STEPS:
        return False
    return binding.how == "for" or (binding.how == "assign" and _is_of_loop(file, binding.value, depth + 1))


_MOVED = (".to", ".cuda", ".cpu", ".long", ".float", ".view", ".reshape", ".squeeze", ".unsqueeze", ".next")
