"""Where the first value that is no number came from, read off the graph of the very loss that is not finite.

Nothing is computed again: at the moment of `backward()` the graph still holds the operands of each operation.
The first operation, in the order of execution, whose operands are finite and lie where it is singular is where it
was born.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stethoscope.facts.training import Birth
from stethoscope.observe.training.graph import OperationTable, Reading, operation_of
from stethoscope.observe.training.models import ParameterEntry

SINGULAR_SLOPES = ("sqrt", "pow", "norm", "linalg_vector_norm", "log", "div", "acos", "asin", "std", "atan2", "rsqrt")
"""Operations with a finite value whose derivative can be infinite."""


MOST_ROWS = 8


class Flaw(NamedTuple):
    """What made an operation give values that are not finite."""

    detail: str
    where: Tensor
    """Mask of the values concerned."""
    number_type: str


def find_birth(
    step: int,
    reading: Reading,
    table: OperationTable,
    inputs: Tensor | None,
    parameters: Iterable[ParameterEntry],
    *,
    saved_values: bool = True,
) -> Birth:
    """Say where the first non-finite value of this graph came from: data, weights, or an operation.

    Without `saved_values` the operands that the graph keeps are left alone: hooks would run the user's code again.
    """
    if inputs is not None and inputs.is_floating_point():
        bad = int((~torch.isfinite(inputs)).sum())
        if bad:
            detail = f"{bad:,} of {inputs.numel():,} values of the batch were not finite"
            rows = _rows(~torch.isfinite(inputs), inputs)
            return Birth(step, "input", detail=detail, certain=True, rows=rows)
    largest, broken = _weights(parameters)
    if broken:
        return _born_in_update(step, table, broken, largest)
    for node in reading.nodes if saved_values else ():
        flaw = singularity(node)
        if flaw:
            made = table.find(reading.nodes, node)
            return Birth(
                step, "forward", operation_of(node), made.module if made else "", made.site if made else None,
                flaw.detail, True, largest, _rows(flaw.where, inputs), flaw.number_type,
            )  # fmt: skip
    for node in reading.nodes if saved_values else ():
        if _is_broken(node):
            made = table.find(reading.nodes, node)
            return Birth(
                step, "forward", operation_of(node), made.module if made else "", made.site if made else None,
                "its operands already held values that are not finite", False, largest,
            )  # fmt: skip
    return Birth(step, "loss", largest_weight=largest)


def _weights(parameters: Iterable[ParameterEntry]) -> tuple[float, str]:
    """Largest finite magnitude among the weights, and the name of the first parameter that is not finite."""
    largest, broken = 0.0, ""
    for entry in parameters:
        tensor = entry.tensor()
        if tensor is None or not tensor.is_floating_point() or not tensor.numel():
            continue
        low, high = (float(bound) for bound in torch.aminmax(tensor.detach()))
        magnitude = max(abs(low), abs(high))
        if magnitude != magnitude or magnitude == float("inf"):
            broken = broken or entry.name
        else:
            largest = max(largest, magnitude)
    return largest, broken


def _born_in_update(step: int, table: OperationTable, parameter: str, largest: float) -> Birth:
    """The weights are broken already: the step before broke them, so a gradient or the update was not finite."""
    risky = {(m.operation, m.site): m for m in table.made if m.operation in SINGULAR_SLOPES and m.site}
    detail = f"`{parameter}` was not finite before the forward pass: the update before it broke it"
    if len(risky) == 1:
        made = next(iter(risky.values()))
        return Birth(step, "backward", made.operation, made.module, made.site, detail, False, largest)
    return Birth(step, "parameter", "", parameter.rpartition(".")[0], None, detail, False, largest)


def _saved(node: Any, name: str) -> Tensor | None:
    """An operand or result that the node keeps for its backward pass; None when it keeps none."""
    try:
        value = getattr(node, f"_saved_{name}", None)
    except RuntimeError:  # freed already: this graph was used before
        return None
    return value.detach() if isinstance(value, Tensor) and value.is_floating_point() else None


def _flaw(mask: Tensor, what: str, operand: Tensor) -> Flaw | None:
    number = int(mask.sum())
    if not number:
        return None
    return Flaw(f"{number:,} of {mask.numel():,} {what}", mask, str(operand.dtype).removeprefix("torch."))


def _rows(mask: Tensor, inputs: Tensor | None) -> tuple[int, ...]:
    """The rows of the batch that a mask concerns, where its first axis is that of the batch."""
    if inputs is None or not mask.numel() or not mask.dim() or not inputs.dim() or mask.shape[0] != inputs.shape[0]:
        return ()
    return tuple(mask.reshape(mask.shape[0], -1).any(dim=1).nonzero().flatten()[:MOST_ROWS].tolist())


def _all_finite(tensor: Tensor | None) -> bool:
    return tensor is None or bool(torch.isfinite(tensor).all())


def singularity(node: Any) -> Flaw | None:
    """What made this operation give no finite value, when its operands were finite; None otherwise."""
    operation = operation_of(node)
    operand, result = _saved(node, "self"), _saved(node, "result")
    if operation in ("log", "log2", "log10", "log1p") and operand is not None:
        edge = -1.0 if operation == "log1p" else 0.0
        bad = (operand <= edge) & torch.isfinite(operand)
        below = bool((operand < edge).any())
        return _flaw(bad, f"values were {edge:g} or less" if below else f"values were {edge:g}", operand)
    if operation == "div":
        divisor = _saved(node, "other")
        return None if divisor is None else _flaw(divisor == 0, "divisors were 0", divisor)
    if operation in ("sqrt", "rsqrt", "reciprocal", "exp", "expm1", "cosh", "sinh", "tan", "acosh", "atanh", "acos"):
        return _result_broken(operand, result)
    if operation == "pow" and operand is not None:
        exponent = getattr(node, "_saved_exponent", None)
        if isinstance(exponent, int | float):
            value = operand**exponent
            return _flaw(~torch.isfinite(value) & torch.isfinite(operand), "powers were not finite", operand)
    if operation in ("softmax", "log_softmax") and result is not None:
        return _flaw(torch.isnan(result), "results were NaN (rows of -inf only)", result)
    if operation in ("mul", "bmm", "mm", "addmm", "sum"):
        one = _saved(node, "mat1" if operation == "addmm" else "self")
        other = _saved(node, "other") if operation == "mul" else _saved(node, "mat2")
        if one is not None and other is not None and _all_finite(one) and _all_finite(other):
            product = one * other if operation == "mul" else one @ other
            return _flaw(~torch.isfinite(product), "products overflowed", one)
    return None


def _result_broken(operand: Tensor | None, result: Tensor | None) -> Flaw | None:
    if result is None or _all_finite(result) or not _all_finite(operand):
        return None
    largest = float(result[torch.isfinite(result)].abs().max()) if torch.isfinite(result).any() else float("nan")
    return _flaw(~torch.isfinite(result), f"results were not finite (largest finite one {largest:.3g})", result)


def _is_broken(node: Any) -> bool:
    return any(
        not _all_finite(_saved(node, name)) for name in ("self", "other", "result", "mat1", "mat2", "input", "output")
    )
