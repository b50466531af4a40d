"""The optimizers that source code makes, with the numbers that are written there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import Call, Code, Value
from stethoscope.facts.ownership import owners_of
from stethoscope.facts.things import literal

ADAPTIVE = frozenset({"Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "SparseAdam", "Nadam"})
"""Optimizers whose steps are about as large as the learning rate, whatever the gradient."""
_TORCH = "torch.optim."
_KERAS = ("keras.optimizers.", "keras.optimizers.legacy.")
_RATES_CHANGE = ("lr_scheduler", "cheduler", "param_group", "LambdaLR", "adjust_learning_rate", "warmup", "lr_find")
"""What a file says that sets rates elsewhere: the number that is written is then a factor, or a start."""


class Made(NamedTuple):
    """An optimizer of a model's parameters."""

    call: Call
    kind: str
    """Its class."""
    rate: float | None
    """The learning rate where it is a number that is written here, and no schedule may change it."""
    rate_at: Value | None
    momentum: float | None
    momentum_at: Value | None


def optimizers_of(code: Code) -> tuple[Made, ...]:
    """The optimizers of torch's and Keras's that a file makes for models."""
    if "optimizers" not in code.memo:
        code.memo["optimizers"] = tuple(_optimizers(code))
    found: tuple[Made, ...] = code.memo["optimizers"]
    return found


def _optimizers(code: Code) -> Iterator[Made]:
    for call in code.calls_named(lambda name: name.startswith((_TORCH, *_KERAS))):
        if call.receiver is not None:
            continue
        if call.name.startswith(_TORCH):
            if owners_of(code, call.argument(0, "params")) is not None:
                yield _made(code, call, call.argument(1, "lr"), call.keyword("momentum"))
        elif call.name.startswith(_KERAS) and ".schedules." not in call.name:
            rate = call.argument(0, "learning_rate") or call.keyword("lr")
            yield _made(code, call, rate, call.argument(1, "momentum"))


def _made(code: Code, call: Call, rate: Value | None, momentum: Value | None) -> Made:
    steady = not call.is_open and not code.says(*_RATES_CHANGE)
    number = _number(code, rate) if steady else None
    return Made(call, call.name.rpartition(".")[2], number, rate, _number(code, momentum), momentum)


def _number(code: Code, value: Value | None) -> float | None:
    found = literal(code, value) if value is not None else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
