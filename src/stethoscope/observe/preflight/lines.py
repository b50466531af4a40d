"""The operation on a line that failed, and what it was given: worked out once more on tensors without values.

Python says which part of a line raised (PEP 657). Its operands are variables, or are made on that line by layers and by
operations of torch's; these are run again on the device `meta`, where nothing is computed and no random number drawn.
Code of the user's is not run again outside of copies of layers.
"""

from __future__ import annotations

import ast
import copy
import linecache
import operator
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.observe.model.apart import apart
from stethoscope.observe.model.copies import without_hooks

MOST_LINES = 20
"""Lines of one operation that are read."""
ELEMENTWISE = {"add", "sub", "mul", "div", "where", "masked_fill", "masked_fill_", "add_", "mul_", "sub_", "maximum",
               "minimum"}  # fmt: skip
RESHAPES = ("view", "reshape")
PLAIN_OF_TENSORS = ("shape", "T", "mT", "dtype", "device", "ndim", "data")
_SIGNS: Mapping[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("add", operator.add), ast.Sub: ("sub", operator.sub), ast.Mult: ("mul", operator.mul),
    ast.Div: ("div", operator.truediv), ast.FloorDiv: ("floordiv", operator.floordiv),
    ast.MatMult: ("matmul", operator.matmul), ast.Pow: ("pow", operator.pow), ast.Mod: ("mod", operator.mod),
}  # fmt: skip
_COMPARED: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip


class _Unknown(Exception):
    """A part of the line whose value cannot be known."""


@dataclass(frozen=True)
class Operand:
    """Something that the operation was given."""

    text: str
    """As it is written."""
    value: Any
    """A tensor without values, or what stands there: a number, a list."""
    device: str = ""
    """Of a variable's tensor; empty where it was made on the line."""


@dataclass(frozen=True)
class Operation:
    """What failed, as it is written."""

    text: str
    name: str
    """Of the function or method; that of torch's function for a sign, such as `add`."""
    operands: tuple[Operand, ...]
    """The tensor of a method first."""
    on_tensor: bool = False
    """Whether it is a method of its first operand."""

    @property
    def tensors(self) -> list[Operand]:
        """Those operands that are tensors, also in a list that is joined."""
        found: list[Operand] = []
        for one in self.operands:
            if isinstance(one.value, Tensor):
                found.append(one)
            elif isinstance(one.value, list):
                found += [each for each in one.value if isinstance(each, Operand) and isinstance(each.value, Tensor)]
        return found


def operation_at(frame: FrameType, line: int, last: int) -> Operation | None:
    """What failed on a line of a frame; None where it is not one operation whose operands can all be known.

    Args:
        frame: whose variables are as they were.
        line: on which it raised.
        last: index of the instruction that raised, as in a traceback.
    """
    node = _node_at(frame, line, last)
    try:
        with apart(), torch.no_grad(), torch.device("meta"):
            return _read(node, frame) if node is not None else None
    except Exception:  # of whatever a copied layer runs
        return None


def _node_at(frame: FrameType, line: int, last: int) -> ast.AST | None:
    """The expression or statement that raised."""
    places = list(frame.f_code.co_positions())
    if not 0 <= last // 2 < len(places):
        return None
    first, end, left, right = places[last // 2]
    if first is None or end is None or left is None or right is None or end - first >= MOST_LINES or first > line:
        return None
    lines = [linecache.getline(frame.f_code.co_filename, number).encode() for number in range(first, end + 1)]
    if not all(lines):
        return None
    lines[-1] = lines[-1][:right]
    lines[0] = lines[0][left:]
    source = b"".join(lines).decode(errors="replace")
    for text in (source, f"({source})"):
        try:
            statement = ast.parse(text).body[0]
        except (SyntaxError, IndexError):
            continue
        return statement.value if isinstance(statement, ast.Expr | ast.Return | ast.Assign) else statement
    return None


def _read(node: ast.AST, frame: FrameType) -> Operation | None:
    text = " ".join(ast.unparse(node).split())
    if isinstance(node, ast.AugAssign | ast.BinOp) and type(node.op) in _SIGNS:
        sides = (node.target, node.value) if isinstance(node, ast.AugAssign) else (node.left, node.right)
        return Operation(text, _SIGNS[type(node.op)][0], tuple(_operand(side, frame) for side in sides))
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
        return None
    given = [_operand(one, frame) for one in (*node.args, *(word.value for word in node.keywords))]
    if isinstance(node.func, ast.Attribute):
        base = _operand(node.func.value, frame)
        if isinstance(base.value, Tensor):
            return Operation(text, node.func.attr, (base, *given), on_tensor=True)
    function = _value(node.func, frame)
    if not _is_torchs(function):
        return None
    return Operation(text, str(getattr(function, "__name__", "")), tuple(given))


def _operand(node: ast.expr, frame: FrameType) -> Operand:
    device = ""
    if isinstance(node, ast.List | ast.Tuple) and node.elts:
        return Operand(ast.unparse(node), [_operand(each, frame) for each in node.elts])
    value = _value(node, frame)
    if isinstance(node, ast.Name | ast.Attribute) and isinstance(value, Tensor):
        device = str(_found(node, frame).device)
    return Operand(" ".join(ast.unparse(node).split()), value, device)


def empty(value: Any) -> Any:
    """The same, with tensors on `meta` in place of tensors."""
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    if type(value) in (list, tuple):
        return type(value)(empty(each) for each in value)
    return value


def _found(node: ast.expr, frame: FrameType) -> Any:
    """The value of a name or of an attribute, as it is; nothing of the user's is run to get it."""
    if isinstance(node, ast.Name):
        for scope in (frame.f_locals, frame.f_globals, frame.f_builtins):
            if node.id in scope:
                return scope[node.id]
        raise _Unknown(node.id)
    assert isinstance(node, ast.Attribute)
    base = _found(node.value, frame) if isinstance(node.value, ast.Name | ast.Attribute) else _value(node.value, frame)
    if isinstance(base, nn.Module):
        for owned in (base._parameters, base._buffers, base._modules, vars(base)):
            if node.attr in owned:
                return owned[node.attr]
    elif isinstance(base, Tensor):
        if node.attr in PLAIN_OF_TENSORS or callable(getattr(Tensor, node.attr, None)):
            return getattr(base, node.attr)
    elif isinstance(base, types.ModuleType) and base.__name__.partition(".")[0] in ("torch", "math"):
        return getattr(base, node.attr)
    raise _Unknown(node.attr)


def _value(node: ast.expr, frame: FrameType) -> Any:
    """What an expression gives on tensors without values. Raises what it raises, and `_Unknown`."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Attribute() if not isinstance(node.value, ast.Name | ast.Attribute):
            base = _value(node.value, frame)
            if isinstance(base, Tensor) and (node.attr in PLAIN_OF_TENSORS or hasattr(Tensor, node.attr)):
                return getattr(base, node.attr)
        case ast.Name() | ast.Attribute():
            value = _found(node, frame)
            if (
                isinstance(node, ast.Attribute)
                and callable(value)
                and isinstance(getattr(value, "__self__", 0), Tensor)
            ):
                return getattr(empty(value.__self__), node.attr)
            return empty(value)
        case ast.Tuple() | ast.List():
            values = [_value(each, frame) for each in node.elts]
            return tuple(values) if isinstance(node, ast.Tuple) else values
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand, frame)
        case ast.UnaryOp(op=ast.Invert()):
            return ~_value(node.operand, frame)
        case ast.BinOp() if type(node.op) in _SIGNS:
            return _SIGNS[type(node.op)][1](_value(node.left, frame), _value(node.right, frame))
        case ast.Compare(ops=[sign]) if type(sign) in _COMPARED:
            return _COMPARED[type(sign)](_value(node.left, frame), _value(node.comparators[0], frame))
        case ast.Subscript():
            base = _value(node.value, frame)
            if isinstance(base, Tensor | tuple | list | nn.ModuleList | nn.Sequential):
                return base[_value(node.slice, frame)]
        case ast.Slice():
            ends = (node.lower, node.upper, node.step)
            return slice(*(None if end is None else _value(end, frame) for end in ends))
        case ast.Call() if not any(isinstance(one, ast.Starred) for one in node.args):
            given = [_value(one, frame) for one in node.args]
            words = {word.arg: _value(word.value, frame) for word in node.keywords if word.arg}
            function = _value(node.func, frame)
            if isinstance(function, nn.Module):
                return bare_copy(function)(*given, **words)
            if _is_torchs(function):
                return function(*given, **words)
    raise _Unknown(ast.unparse(node))


def _is_torchs(function: Any) -> bool:
    """Whether calling it runs nothing of the user's."""
    if isinstance(getattr(function, "__self__", None), Tensor):
        return True
    home = getattr(function, "__module__", None) or type(getattr(function, "__self__", None)).__name__
    return function in (int, float, len) or str(home).partition(".")[0] in ("torch", "_VariableFunctionsClass", "math")


def bare_copy(module: nn.Module) -> nn.Module:
    """A copy on `meta`, without hooks. It takes no memory for what is a parameter or a buffer."""
    tensors = [*module.parameters(), *module.buffers()]
    memory: dict[int, Any] = {}
    for tensor in tensors:
        bare: Tensor = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        is_weight = isinstance(tensor, nn.Parameter)
        memory[id(tensor)] = nn.Parameter(bare, requires_grad=tensor.requires_grad) if is_weight else bare
    new = copy.deepcopy(module, memory)
    without_hooks(new)
    return new
