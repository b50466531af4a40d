"""What a loss written out by hand amounts to, read off the few nodes between the loss and the model's answer.

`((p - y) ** 2).mean()` and `-(y * p.log()).sum(1).mean()` leave their operands in the graph for the backward pass;
from them come prediction and target, without a change to the script.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stethoscope.observe.training.graph import VIEWS, kind_of, made_by, operation_of

MOST_NODES = 60
SAME = 0.01
"""A recomputed value within 1 % of the loss is the loss."""
PLUMBING = VIEWS | {"mean", "sum", "div", "mul", "neg", "add", "sub", "rsub", "sqrt", "gather"}
"""Operations that add up, average and scale what the terms of a loss give."""
CORES = ("pow", "abs", "log", "log1p", "log_softmax", "log_sigmoid")


@dataclass(frozen=True)
class HandWritten:
    """A loss that was recognised."""

    form: str
    """The function of torch's that it amounts to."""
    output: Tensor
    target: Tensor
    maker: Any
    """The node that made the output."""
    is_mean: bool
    """Whether the loss is the mean over samples (or elements) of that function, and nothing else."""
    mean: Tensor
    """That mean, whether or not the loss is it."""


@dataclass(frozen=True)
class _Core:
    node: Any
    parent: Any
    """The first node above it that is no view and no sign."""


def recognise(loss: Tensor, answer: Tensor | None, answer_node: int) -> HandWritten | None:
    """The loss in terms of torch's own functions, or None.

    Args:
        loss: the scalar that is backpropagated.
        answer: what the model returned at its last forward pass, detached.
        answer_node: the number of the node that made that answer; -1 when unknown.
    """
    cores = _cores(loss.grad_fn, answer_node)
    if not cores or len(cores) > 2:
        return None
    operations = [operation_of(core.node) for core in cores]
    if len(cores) == 1 and operations[0] in ("pow", "abs", "mul"):
        return _difference(loss, cores[0], answer, answer_node)
    if all(operation in ("log", "log1p") for operation in operations):
        return _log_likelihood(loss, cores)
    if operations == ["log_softmax"]:
        return _after_log_softmax(loss, cores[0])
    return None


def _cores(root: Any, answer_node: int) -> list[_Core]:
    """The operations that give the terms their form, nearest to the loss first; empty when others are among them."""
    found: list[_Core] = []
    waiting: deque[tuple[Any, Any]] = deque([(root, None)])
    seen: set[Any] = set()
    while waiting:
        node, parent = waiting.popleft()
        if node is None or node in seen:
            continue
        seen.add(node)
        if len(seen) > MOST_NODES:
            return []
        operation = operation_of(node)
        children = [child for child, _ in node.next_functions]
        is_square = operation == "mul" and len(children) == 2 and children[0] is not None and children[0] is children[1]
        if operation in CORES or is_square:
            found.append(_Core(node, parent))
        elif operation in PLUMBING and node._sequence_nr() != answer_node:
            above = parent if (operation in VIEWS and operation != "index") or operation == "neg" else node
            waiting.extend((child, above) for child in children)
        else:
            return []
    return found


def _saved(node: Any, *names: str) -> Tensor | None:
    """The first of these that the node keeps for its backward pass."""
    for name in names:
        try:
            value = getattr(node, f"_saved_{name}", None)
        except RuntimeError:  # freed or overwritten since
            return None
        if isinstance(value, Tensor):
            return value.detach()
    return None


def _difference(loss: Tensor, core: _Core, answer: Tensor | None, answer_node: int) -> HandWritten | None:
    """`(p - y) ** 2` or `abs(p - y)`: the difference is kept, and the prediction where an activation made it."""
    operation = operation_of(core.node)
    if operation == "pow" and getattr(core.node, "_saved_exponent", None) != 2:
        return None
    difference = _saved(core.node, "self")
    minus = made_by(core.node.next_functions[0][0])
    if difference is None or minus is None or operation_of(minus) != "sub":
        return None
    sides = [child for child, _ in minus.next_functions]
    if len(sides) != 2 or (sides[0] is None) == (sides[1] is None):
        return None
    mine = sides[0] if sides[0] is not None else sides[1]
    if hasattr(mine, "variable"):
        return None
    output = _result(made_by(mine))
    if output is None and answer is not None and _reaches(mine, answer_node):
        output = answer
    if output is None or output.numel() != difference.numel() or not output.is_floating_point():
        return None
    output = output.reshape(difference.shape)
    target = output - difference if sides[0] is not None else output + difference
    size = difference.abs() if operation == "abs" else difference.square()
    form = "l1_loss" if operation == "abs" else "mse_loss"
    return _written(form, output, target, made_by(mine), loss, size.mean())


def _reaches(node: Any, number: int) -> bool:
    """Whether this node is that one, or a view of it."""
    for _ in range(20):
        if node is None or number < 0:
            return False
        if node._sequence_nr() == number:
            return True
        if operation_of(node) not in VIEWS or not node.next_functions or operation_of(node) == "index":
            return False
        node = node.next_functions[0][0]
    return False


def _result(node: Any) -> Tensor | None:
    return _saved(node, "result") if node is not None else None


def _log_likelihood(loss: Tensor, cores: list[_Core]) -> HandWritten | None:
    """`y * log(p)`, with or without `(1 - y) * log(1 - p)`; or `log(p)` at the indices of the true classes."""
    plain = [core for core in cores if operation_of(core.node) == "log" and not _is_one_minus(core.node)]
    if len(plain) != 1:
        return None
    core, two = plain[0], len(cores) == 2
    output = _saved(core.node, "self")
    target = _target_of(core)
    if output is None or target is None or not output.dim():
        return None
    maker = _behind_safeguards(core.node.next_functions[0][0])
    if two and target.shape == output.shape:
        value = -(target * output.log() + (1 - target) * (1 - output).log()).mean()
        return _written("binary_cross_entropy", output, target, maker, loss, value)
    if not two and target.shape == output.shape and output.shape[1:].numel() == 1:
        if bool(((target - target.round()).abs() > SAME).any()):
            return None  # a weight, such as the advantage of an action, and no class
        value = -(target * output.log()).mean()
        return _written("categorical", output, target, maker, loss, value)
    if not two and output.dim() == 2 and output.shape[1] > 1:
        value = _mean_of_rows(output.log(), target)
        return None if value is None else _written("categorical", output, target, maker, loss, value)
    return None


def _after_log_softmax(loss: Tensor, core: _Core) -> HandWritten | None:
    output, target = _result(core.node), _target_of(core)
    if output is None or target is None or output.dim() < 2 or output.shape[-1] < 2:
        return None
    if output.dim() > 2:  # a class for each position
        if (
            getattr(core.node, "_saved_dim", None) not in (-1, output.dim() - 1, 2**64 - 1)
            or target.is_floating_point()
        ):
            return None
        output, target = output.reshape(-1, output.shape[-1]), target.reshape(-1)
    value = _mean_of_rows(output, target)
    return None if value is None else _written("nll_loss", output, target, core.node, loss, value)


def _written(form: str, output: Tensor, target: Tensor, maker: Any, loss: Tensor, mean: Tensor) -> HandWritten:
    return HandWritten(form, output, target, maker, _is_close(loss, mean), mean)


def _mean_of_rows(logarithms: Tensor, target: Tensor) -> Tensor | None:
    """The mean of `-y * log p` over the samples; None when the target does not belong to these rows."""
    if target.is_floating_point():
        return -(target * logarithms).sum(dim=1).mean() if target.shape == logarithms.shape else None
    labels = target.reshape(-1)
    inside = labels.shape[0] == logarithms.shape[0] and labels.numel() > 0
    if not inside or int(labels.min()) < 0 or int(labels.max()) >= logarithms.shape[1]:
        return None
    return -logarithms.gather(1, labels.unsqueeze(1)).mean()


def _is_one_minus(log_node: Any) -> bool:
    """Whether it is the logarithm of a difference, as `1 - p` is."""
    node = log_node.next_functions[0][0]
    for _ in range(4):
        if node is None:
            return False
        if operation_of(node) in ("rsub", "sub"):
            return True
        if operation_of(node) not in ("add", "clamp", "clamp_min"):
            return False
        node = node.next_functions[0][0]
    return False


def _target_of(core: _Core) -> Tensor | None:
    """What the terms are multiplied with, or the classes at which they are read."""
    if core.parent is None:
        return None
    operation = operation_of(core.parent)
    if operation == "mul":
        found = _saved(core.parent, "self", "other")
        return found if found is not None and found.is_floating_point() else None
    if operation == "gather":
        return _saved(core.parent, "index")
    if operation == "index":
        try:
            indices = [i for i in core.parent._saved_indices if isinstance(i, Tensor)]
        except RuntimeError:
            return None
        return indices[-1].detach() if len(indices) == 2 and indices[-1].dtype == torch.long else None
    return None


def _behind_safeguards(node: Any) -> Any:
    """The node that made a probability, before a small number was added to it; a clamp is left in place."""
    node = made_by(node)
    if node is not None and kind_of(node) == "add":
        sides = [child for child, _ in node.next_functions if child is not None]
        if len(sides) == 1:
            return made_by(sides[0])
    return node


def _is_close(loss: Tensor, value: Tensor) -> bool:
    return bool((loss.detach().reshape(()) - value).abs() <= SAME * value.abs())
