"""The edit that switches gradients off in a function that only evaluates."""

from __future__ import annotations

from stethoscope.facts.code import NOWHERE, Attribute, Code, Item, Name, Value
from stethoscope.facts.evaluations import Evaluation
from stethoscope.facts.loops import training_functions
from stethoscope.rules.changing import Edits, imported_as
from stethoscope.rules.lines import insertion


def without_graph(file: Code, found: Evaluation) -> Edits:
    """The decorator, on a function that does nothing but evaluate."""
    function = file.functions[found.function]
    torch = imported_as(file, "torch")
    line = file.lines[function.at.line - 1]
    is_plain = line.lstrip().startswith("def ") and not line[: function.at.column].strip()
    if not found.function or not torch or not is_plain or found.function in training_functions(file):
        return ()
    calls = file.calls[slice(*function.calls)]
    if any(
        (call.arguments or call.keywords) and _is_handed_over(file, call.receiver, found.forward.name) for call in calls
    ):
        return ()  # something unknown that gets data: it may need gradients, as an attack does
    indent = line[: len(line) - len(line.lstrip())]
    return (insertion(file, function.at.line, function.at.column, f"@{torch}.no_grad()\n{indent}"),)


def _is_handed_over(file: Code, value: Value | None, model: str) -> bool:
    """Whether a method belongs to a parameter of the function that is not the model, or to something in one."""
    while isinstance(value, Item | Attribute):
        value = value.value
    if not isinstance(value, Name) or value.binding == NOWHERE or value.name == model:
        return False
    return file.bindings[value.binding].how == "argument"
