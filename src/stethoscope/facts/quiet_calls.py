"""Calls that compute no gradients, so far as it can be seen, and those that may."""

from __future__ import annotations

import re

from stethoscope.facts.code import Call, Code
from stethoscope.facts.events import name_of
from stethoscope.facts.gradient_words import says_gradients
from stethoscope.facts.gradients_around import CLIPS, OWN_GRADIENTS
from stethoscope.facts.model_values import is_model_call
from stethoscope.facts.origins import called, member, thing_of
from stethoscope.facts.things import Thing

_BACKWARD = re.compile(r"backward\(|autograd\.grad\(")
TAKES_NOTHING = (".append", ".update", ".add_scalar", ".format", ".write", ".log", ".add", ".info", ".debug", ".item",
                  ".set_postfix", ".set_description", ".extend", ".add_scalars", ".add_histogram", ".add_image",
                  ".add_images", ".add_figure", ".add_text")  # fmt: skip
_RECORDS = re.compile(r"\.(?:log|record|track|report|print|write|display)_?\w*")
"""Names of methods that note what they are given; of what is called a logger, any does."""
_LOGGER = re.compile(r"(?:^|[._])(?:\w*logger|\w*writer|tracker|recorder|history|\w*meters?|wandb)$")
HARMLESS = ("builtins.", "torch.", "numpy.", "math.", "tqdm.")
_DEEPEST = 8
"""Functions inside of functions that are looked into."""
_OF_TORCH = ("scheduler", "optimizer", "scaler", "tensor")
OF_TENSORS = frozenset({
    ".to", ".cuda", ".cpu", ".item", ".mean", ".sum", ".view", ".detach", ".size", ".pow", ".max", ".parameters",
    ".zero_grad", ".float", ".long", ".train", ".numpy", ".time", ".tolist", ".min", ".abs", ".exp", ".sqrt", ".clamp",
    ".clone", ".squeeze", ".unsqueeze", ".permute", ".transpose", ".reshape", ".repeat", ".flatten", ".contiguous",
    ".expand", ".expand_as", ".view_as", ".type_as", ".gather", ".masked_fill", ".masked_select", ".index_select",
    ".log_softmax", ".softmax", ".sigmoid", ".argmax", ".rsample", ".log_prob", ".entropy", ".bool", ".int", ".eval",
})  # fmt: skip
"""Methods of tensors, networks and distributions that compute no gradients."""


def is_quiet(file: Code, call: Call) -> bool:
    """Whether a call computes no gradients: of a library, of a model, or of a function of the project that is read."""
    says_so = call.name in TAKES_NOTHING and call.name not in (".update", ".add", ".log")
    if says_so or call.name.startswith(HARMLESS) or CLIPS.search(file.text(call.at)):
        return True
    callee = called(file, call)
    if callee.kind == "instance" and call.name == "()":
        callee = member(file, callee, "__call__")
    if callee.function is not None and callee.code is not None:
        return not computes(callee.code, callee.number)
    if callee.kind in ("module", "loss") or is_model_call(file, call):
        return not goes_backward(file, callee)
    return call.name in OF_TENSORS or thing_of(file, call.receiver).kind in _OF_TORCH


def is_of_nothing(call: Call) -> bool:
    """Whether a call makes a tensor, or a number, that no network has a part in."""
    return _MADE.fullmatch(call.name) is not None


_MADE = re.compile(r"torch\.(?:(?:zeros|ones|tensor|full|empty|rand)\w*|\w*Tensor)|builtins\.(?:float|int|len|bool)")


def only_notes(file: Code, call: Call) -> bool:
    """Whether a call writes down what it is given."""
    is_noted = bool(_RECORDS.fullmatch(call.name)) and bool(_LOGGER.search(name_of(file, call.receiver)))
    return call.name in TAKES_NOTHING or (is_noted and called(file, call).function is None)


def goes_backward(file: Code, callee: Thing) -> bool:
    """Whether a model or a loss of the project goes backward where it is called: in its `forward`."""
    forward = member(file, callee, "forward") if callee.cls is not None else None
    return (
        forward is not None
        and forward.function is not None
        and forward.code is not None
        and says_gradients(forward.code, _BACKWARD, forward.function.at)
    )


def computes(file: Code, index: int, depth: int = 0) -> bool:
    """Whether a function may compute gradients: by its words, or by calling something that is not known."""
    if depth > _DEEPEST:
        return True
    known: dict[int, bool] = file.memo.setdefault("functions that compute gradients", {})
    if index not in known:
        known[index] = False  # it may call itself
        known[index] = _computes(file, index, depth)
    return known[index]


def _computes(file: Code, index: int, depth: int) -> bool:
    function = file.functions[index]
    if says_gradients(file, OWN_GRADIENTS, function.at):
        return True
    parameters = {one.name for one in function.parameters}
    for call in file.calls[slice(*function.calls)]:
        callee = called(file, call)
        if callee.function is not None and callee.code is not None:
            if computes(callee.code, callee.number, depth + 1):
                return True
        elif call.name == "()" and callee.kind == "unknown" and name_of(file, call.receiver) in parameters:
            return True
    return False
