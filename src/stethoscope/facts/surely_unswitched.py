"""Evaluations in train mode that nobody else can have meant or switched: the file shows who gets there, what is
measured, and that no function which is not seen is handed the model.
"""

from __future__ import annotations

import re

from stethoscope.facts.code import Call, Code, Constant, Name, Symbol, Value
from stethoscope.facts.evaluations import Evaluation, called_models
from stethoscope.facts.events import name_of
from stethoscope.facts.handed import calls_handlers
from stethoscope.facts.measures import comes_of_answer, keeps_measures
from stethoscope.facts.origins import called, thing_of
from stethoscope.facts.reached import Reach, reach_of

_MEASURING = re.compile(
    r"\.item|\.argmax|\.max|\.eq|\.topk|torch\.(?:argmax|max|topk|eq)|builtins\.float|sklearn\.metrics\..*"
)
"""What is done with an answer of which a number or a class is wanted, and no picture."""
_LEAVING = re.compile(
    r"(?:torch|numpy|copy|wandb|mlflow|torchsummary|torchinfo|thop|apex|horovod|accelerate|logging|os)\..*"
    r"|builtins\.(?!getattr|map).*|\.(?:save\w*|watch|add_graph|update\w*|append|add|register\w*|prepare|log\w*|info|step)"
)
"""Functions that are known to leave the mode of a model that they are given."""


def is_surely_unswitched(file: Code, found: Evaluation) -> bool:
    """Whether something is measured in train mode, and whoever may switch the mode is seen not to."""
    names = {found.forward.name, *(name_of(file, way) for way in called_models(found))} - {""}
    reach = reach_of(file, found.forward.context, with_gradients=False)
    thinks_of_modes = any(name_of(file, call.receiver) in names for call in file.calls_of(".train"))
    is_reached = reach is Reach.TRAINING or (reach is Reach.NOBODY and thinks_of_modes)
    return is_reached and _is_measured(file, found) and not may_be_switched(file, names)


def _is_measured(file: Code, found: Evaluation) -> bool:
    if found.is_loop and keeps_measures(found):
        return True
    return any(
        _MEASURING.fullmatch(call.name) is not None
        and found.context in file.numbers_around(call.context)
        and comes_of_answer(found, call, is_read=True)
        for call in file.calls[slice(*file.functions[found.function].calls)]
    )


def may_be_switched(file: Code, names: set[str], loop: int | None = None) -> bool:
    """Whether a function that is not seen is given the model and gives nothing back, `set_mode(model, False)`, a method
    that is not seen is called of the object that keeps the model, or one by a name that is not written out:
    `getattr(model, phase)()`. In a loop, also whether it calls what is registered elsewhere; else, whether statistics
    are settled.
    """
    for call in file.calls_of("()"):
        method = call.receiver
        if (
            isinstance(method, Call)
            and method.name == "builtins.getattr"
            and not isinstance(method.argument(1), Constant)
            and not isinstance(method.argument(0), Symbol)
        ):
            return True
    if loop is None and file.matches(_SETTLES):
        return True
    if loop is not None and (file.matches(_HOOKS, file.contexts[loop].at) or calls_handlers(file, loop)):
        return True
    return any(
        isinstance(one.value, Call)
        and (loop is None or loop in file.numbers_around(one.context))
        and _may_switch(file, one.value, names)
        for one in file.bare
    )


_SETTLES = re.compile(r"reset_running_stats|update_bn\b|bn_update|swa_utils|recalib|\.p\s*=\s*0\b", re.I)
"""Words of files that run a network in train mode to settle what it normalizes by, or switch dropout off by hand."""
_HOOKS = re.compile(r"callback|hook|call_event", re.I)
"""Words of lines that call what is registered elsewhere."""


def _may_switch(file: Code, call: Call, names: set[str]) -> bool:
    if call.name == ".apply" and name_of(file, call.receiver) in names:
        return not _is_seen(file, call.argument(0))
    if _LEAVING.fullmatch(call.name) or called(file, call).kind in ("function", "class", "module", "loss"):
        return False
    is_of_owner = name_of(file, call.receiver) == "self" and any(name.startswith("self.") for name in names)
    given = (*call.arguments, *(value for _, value in call.keywords))
    return is_of_owner or any(name_of(file, one) in names for one in given)


def _is_seen(file: Code, value: Value | None) -> bool:
    """Whether a function stands in the project, or is a method of the model's own."""
    return thing_of(file, value).kind == "function" or (isinstance(value, Name) and value.name.startswith("self."))
