"""What fails while `torch.compile` traces a model: it wraps the exception, and shows none of the model's frames.

The model itself is called once more, as a copy without values, on what it was given: it fails in the same way, and
there the frames are the user's. Where what was compiled ran already, a small model is copied with its values.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from types import FrameType
from typing import Any

import torch
from torch import nn

from stethoscope.observe.model.apart import apart
from stethoscope.observe.model.copies import without_hooks
from stethoscope.observe.model.hollow import hollow
from stethoscope.observe.training.naming import holds_itself

TRACER = "torch._dynamo."
MOST_COPIED = 256 * 2**20
"""Bytes of a model that is copied to be called once more with its values."""
_INNER = re.compile(r"got (\w+)\((['\"])(.*?)\2\)(?:\s|$)", re.DOTALL)
"""What the tracer says of the exception that it met."""


def is_traced(error: BaseException) -> bool:
    """Whether it was raised while a compiler traced the model."""
    return type(error).__module__.startswith(TRACER)


def words_of(error: BaseException) -> tuple[str, str]:
    """Class and words of the exception that the tracer met; its own where it says of none."""
    found = _INNER.search(str(error))
    return (found[1], found[3]) if found else (type(error).__name__, str(error))


def users_place(error: BaseException) -> list[tuple[str, int]]:
    """Files and lines of what was traced, the outermost first."""
    return [(one.filename, int(one.lineno)) for one in getattr(error, "real_stack", None) or () if one.lineno]


def eager_error(frames: Sequence[FrameType], *, with_values: bool) -> BaseException | None:
    """The exception that the compiled model raises when it is called as it is; None where that cannot be seen.

    Args:
        frames: of the traceback.
        with_values: whether what was compiled ran already, so that a value may be what it failed on: an index.
    """
    for frame in frames:
        known = frame.f_locals
        model = _compiled(known.get("self"))
        if model is None or not {"args", "kwargs"} <= known.keys() or holds_itself(model):
            continue
        error = _raised(model, known["args"], known["kwargs"])
        if error is None and with_values and sum(t.nbytes for t in model.parameters()) <= MOST_COPIED:
            error = _raised_with_values(model, known["args"], known["kwargs"])
        return error
    return None


def _compiled(called: Any) -> nn.Module | None:
    """The model within, of one that `torch.compile` or its own `compile()` made."""
    if not isinstance(called, nn.Module):
        return None
    inner = called._modules.get("_orig_mod")
    if inner is not None:
        return inner
    return called if getattr(called, "_compiled_call_impl", None) is not None else None


def _raised(model: nn.Module, args: Any, kwargs: Any) -> BaseException | None:
    try:
        empty = hollow(model)
        _uncompiled(empty.model)
        given = empty.emptied((args, kwargs))
    except Exception:  # a model that cannot be copied
        return None
    try:
        with apart(), empty.working():
            empty.model(*given[0], **given[1])
    except Exception as error:
        return error
    return None


def _raised_with_values(model: nn.Module, args: Any, kwargs: Any) -> BaseException | None:
    try:
        new = copy.deepcopy(model)
    except Exception:  # as when it keeps a result of its last pass
        return None
    without_hooks(new)
    _uncompiled(new)
    try:
        with apart(), torch.no_grad():
            new(*args, **kwargs)
    except Exception as error:
        return error
    return None


def _uncompiled(model: nn.Module) -> None:
    for part in model.modules():
        part.__dict__.pop("_compiled_call_impl", None)
