"""How a function is reached in its own file: from the file's own lines or from a training, through contexts and
decorators that are known to leave gradients and modes as they are; or by nobody whom the file shows.
"""

from __future__ import annotations

import re
from enum import Enum

from stethoscope.facts.code import NOWHERE, Call, Code, Context, Name, Symbol, Value
from stethoscope.facts.events import NO_GRAD, events_of
from stethoscope.facts.origins import bases, call_sites, lineage
from stethoscope.facts.things import Thing

DEEPEST = 4
"""Callers of callers that are followed, at most."""
_PLAIN_CONTEXTS = re.compile(
    r"torch\.(?!no_grad|inference_mode|enable_grad|set_grad_enabled|autograd|func|_C).*|builtins\.open|\.open|tqdm.*"
    r"|contextlib\.(?:suppress|redirect_\w+|closing)|warnings\.catch_warnings|rich\.progress\..*|\.autocast"
    r"|alive_progress\..*|tempfile\..*|accelerate\..*autocast"
)
"""Contexts that are known to leave gradients as they are."""
_PLAIN_CLASS = re.compile(r"@(?:dataclass|dataclasses\.|final\b|typing\.)")
_KNOWN_DECORATORS = ("builtins.", "functools.", "abc.", "typing.", "contextlib.", "torch.", "dataclasses.")


class Reach(Enum):
    """Who gets to a place."""

    TRAINING = "the file's own lines, or a function that trains"
    NOBODY = "a function that nobody calls in its file"
    HIDDEN = "nobody but through what is not known"


def reach_of(code: Code, context: int, *, with_gradients: bool = True, depth: int = 0) -> Reach:
    """Who gets to a place, by the best of the ways on which all is known; and, if asked for, gradients stay on."""
    if not all(_is_plain(code, here, with_gradients) for here in code.around(context)):
        return Reach.HIDDEN
    index = code.function_at(context)
    if index == 0 or any(event.kind == "backward" for event in events_of(code, index)):
        return Reach.TRAINING
    sites = call_sites(code, index)
    if not sites:
        is_open = _is_passed_on(code, index) or _may_be_called_by_a_base(code, index)
        return Reach.HIDDEN if is_open else Reach.NOBODY
    found = {
        reach_of(code, call.context, with_gradients=with_gradients, depth=depth + 1)
        for call in (sites if depth < DEEPEST else ())
    }
    return next((one for one in (Reach.TRAINING, Reach.NOBODY) if one in found), Reach.HIDDEN)


def _is_plain(code: Code, here: Context, with_gradients: bool) -> bool:
    """Whether what stands around something is known not to switch modes, or gradients."""
    if here.kind == "with":
        name = here.value.name if isinstance(here.value, Call) else ""
        return _PLAIN_CONTEXTS.fullmatch(name) is not None or (not with_gradients and name in NO_GRAD)
    if here.kind == "function":
        return all(_is_known(one, with_gradients) for one in code.functions[here.owner].decorators)
    if here.kind == "class":
        above = code.lines[here.at.line - 2].strip() if here.at.line > 1 else ""
        own = code.lines[here.at.line - 1].strip()
        return all(not line.startswith("@") or _PLAIN_CLASS.match(line) for line in (above, own))
    return True


def _is_known(decorator: Value, with_gradients: bool) -> bool:
    name = decorator.name if isinstance(decorator, Symbol | Call | Name) else ""
    switches = "grad" in name or "inference" in name or name == "functools.partial"
    return name.startswith(_KNOWN_DECORATORS) and not (switches and with_gradients)


def _may_be_called_by_a_base(code: Code, index: int) -> bool:
    """Whether a function is a method that a base may call without a graph: one that is not seen, or that stands in
    another file of the project in which gradients are switched off.
    """
    owner = code.class_of(index)
    if owner == NOWHERE:
        return False
    cls = Thing("class", "", code, owner)
    if any(name not in _PLAIN_BASES for name in bases(cls)):
        return True
    return any(home is not code and home.says("no_grad", "inference_mode") for home, _ in lineage(cls))


_PLAIN_BASES = frozenset({"builtins.object", "abc.ABC", "torch.nn.Module", "torch.nn.modules.module.Module"})


def _is_passed_on(code: Code, index: int) -> bool:
    """Whether a function is named beside its definition and its calls: who is handed it may call it quietly."""
    name = code.functions[index].name
    return re.search(rf"(?<![\w\"'])(?<!def ){re.escape(name)}\b(?!\s*[(\"'\w=])", code.uncommented()) is not None
