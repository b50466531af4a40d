"""Small trained matrices beside frozen ones, as LoRA puts them: what is frozen there is frozen on purpose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from stethoscope.facts.training import History, Parameter


def has_adapters(seen: History) -> bool:
    """Whether a frozen matrix has two trained ones beside it whose product has its shape, and a lower rank."""
    trained: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for parameter in seen.parameters:
        if parameter.trainable and parameter.optimizer >= 0 and len(parameter.shape) == 2:
            for path in _holders(parameter.name, 3):
                trained[path].append(parameter.shape)
    return any(_is_adapted(parameter, trained) for parameter in seen.parameters)


def _is_adapted(frozen: Parameter, trained: dict[str, list[tuple[int, ...]]]) -> bool:
    if frozen.trainable or len(frozen.shape) != 2:
        return False
    return any(_has_factors(frozen.shape, trained[path]) for path in _holders(frozen.name, 2) if path in trained)


def _holders(name: str, most: int) -> list[str]:
    """The modules that hold a parameter, the nearest first; not the whole model, nor a container of layers in a row."""
    parts = name.split(".")
    counts = range(len(parts) - 1, max(0, len(parts) - 1 - most), -1)
    return [".".join(parts[:count]) for count in counts if not parts[count].isdigit()]


def _has_factors(shape: tuple[int, ...], factors: Sequence[tuple[int, ...]]) -> bool:
    """Whether two of the factors, either way round, multiply to a matrix of this shape through fewer columns."""
    tall, wide = shape
    low = min(shape)
    left = {min(one) for one in factors if max(one) == tall and min(one) < low}
    right = {min(one) for one in factors if max(one) == wide and min(one) < low}
    return len(factors) > 1 and bool(left & right)
