"""What fails while `torch.compile` traces a model: it wraps the exception, and shows none of the model's frames.

The model itself is called once more, as a copy without values, on what it was given: it fails in the same way, and
there the frames are the user's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import FrameType
from typing import Any

from torch import nn

from stethoscope.observe.model.apart import apart
from stethoscope.observe.model.hollow import hollow
from stethoscope.observe.training.naming import holds_itself

TRACER = "torch._dynamo."
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


def eager_error(frames: Sequence[FrameType]) -> BaseException | None:
    """The exception that the compiled model raises when it is called as it is; None where that cannot be seen."""
    for frame in frames:
        known = frame.f_locals
        model = _compiled(known.get("self"))
        if model is None or not {"args", "kwargs"} <= known.keys() or holds_itself(model):
            continue
        return _raised(model, known["args"], known["kwargs"])
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
        for part in empty.model.modules():
            part.__dict__.pop("_compiled_call_impl", None)
        given = empty.emptied((args, kwargs))
    except Exception:  # a model that cannot be copied
        return None
    try:
        with apart(), empty.working():
            empty.model(*given[0], **given[1])
    except Exception as error:
        return error
    return None
