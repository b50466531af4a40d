"""What fits where an operation on a line of the user's failed. Each change is tried on tensors without values."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.observe.model.apart import apart
from stethoscope.observe.preflight.lines import ELEMENTWISE, RESHAPES, Operand, Operation, bare_copy, empty
from stethoscope.observe.preflight.remedies import CONVOLUTIONS, Layer, Remedy, written

MOST_CONVOLUTIONS = 8
"""Of a block whose padding is tried."""
FAILURES = (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError)


def of_operation(operation: Operation, module: nn.Module | None, forward: FrameType | None) -> Remedy:
    """For what failed on a line; empty where nothing is known to fit.

    Args:
        operation: what failed.
        module: whose code the line is; None outside of modules.
        forward: the frame of torch's that called this module's `forward`; None where the line is not in that.
    """
    tensors = operation.tensors
    devices = {one.device for one in tensors if one.device}
    if len(devices) > 1:
        return _of_devices([one for one in tensors if one.device], module)
    for find in (_of_reshape, _of_mask, _of_elementwise, _of_join, _of_product, _of_index):
        remedy = find(operation, module, forward)
        if remedy.why:
            return remedy
    return Remedy()


def said(operand: Operand) -> str:
    """An operand with its shape and type."""
    kind = str(operand.value.dtype).removeprefix("torch.")
    on = f" on {operand.device}" if operand.device not in ("", "cpu") else ""
    return f"`{operand.text}` is {tuple(operand.value.shape)} {kind}{on}"


def _of_devices(tensors: Sequence[Operand], module: nn.Module | None) -> Remedy:
    """Tensors that lie apart: what is given goes to where the module is; its plain attributes move with nothing."""
    moved = {*module._parameters, *module._buffers} if module is not None else set()
    owned = [one for one in tensors if one.text.rpartition(".")[2] in moved and "." in one.text]
    plain = [one for one in tensors if "." in one.text and one not in owned]
    home = next(iter(owned), None) or next(
        (one for one in tensors if one.device != "cpu" and one not in plain), tensors[0]
    )
    away = next(one for one in tensors if one.device != home.device)
    why = f"`{away.text}` is on {away.device} and `{home.text}` on {home.device}"
    if home.device == "meta" and home in owned:
        return Remedy("", f"{why}, where weights hold no values.", f"model.to_empty(device='{away.device}')")
    if away in plain:
        name = away.text.rpartition(".")[2]
        fix = f"self.register_buffer({name!r}, {name})  # in `__init__`: moves with the model"
        return Remedy("", f"{why}: of a module only parameters and buffers move with it.", fix)
    return Remedy("", f"{why}.", f"{away.text} = {away.text}.to({home.text}.device)")


# Another shape of the same values


def _of_reshape(operation: Operation, module: nn.Module | None, _: FrameType | None) -> Remedy:
    if operation.name not in RESHAPES or not operation.tensors:
        return Remedy()
    source, *rest = operation.operands
    sizes = _sizes(rest)
    if not isinstance(source.value, Tensor) or not sizes or source.value.dim() == 0:
        return Remedy()
    shape, count = tuple(source.value.shape), source.value.numel()
    if _does(lambda: source.value.reshape(sizes)):
        why = f"`{source.text}` is {shape}, and its values do not lie in memory in that order."
        other = operation.text.replace(".view(", ".reshape(", 1) if operation.on_tensor else ""
        return Remedy("", why, f"{other}  # copies them in place of a view" if other.count(".reshape(") == 1 else "")
    fixed = [size for size in sizes if size != -1]
    if len(fixed) < len(sizes) - 1 or min(fixed, default=1) < 1 or not shape[0]:
        return Remedy()
    each, asked = count // shape[0], math.prod(sizes[1:]) if sizes[0] == -1 or -1 not in sizes else 0
    if asked and asked == each and sizes[0] not in (-1, shape[0]):
        why = f"`{source.text}` holds {shape[0]} samples, and {sizes[0]} are asked for."
        texts = [one.text for one in _listed(rest)]
        return Remedy("", why, f"{source.text}.{operation.name}({source.text}.shape[0], {', '.join(texts[1:])})")
    if len(sizes) == 2 and sizes[0] in (-1, shape[0]) and asked != each:
        why = f"`{source.text}` is {shape}: {each:,} values for each sample, and {asked:,} are asked for."
        taken = list(_widened(module, asked, each))
        is_sure = taken or len(shape) > 3  # of three axes, the last may be meant
        return Remedy("", why, "\n".join([f"{source.text}.flatten(1)  # in place of it", *taken]) if is_sure else "")
    if tuple(sizes[: len(shape) - 1]) == shape[:-1] and len(sizes) == len(shape) + 1:
        heads, width = sizes[-2], shape[-1]
        if heads > 0 and width % heads:
            why = f"The last axis of `{source.text}` has {width} entries, which {heads} parts of one size cannot share."
            return Remedy(
                "", why, f"{math.ceil(width / heads) * heads}  # as width in place of {width}: a multiple of {heads}"
            )
    whole = f"`{source.text}` is {shape}, {count:,} values, and {' x '.join(map(str, sizes))} are asked for."
    return Remedy("", whole)


def _listed(operands: Sequence[Operand]) -> list[Operand]:
    """`view(2, -1)` and `view((2, -1))` alike."""
    only = operands[0].value if len(operands) == 1 else None
    return only if isinstance(only, list) else list(operands)


def _sizes(operands: Sequence[Operand]) -> list[int]:
    sizes = [one.value for one in _listed(operands) if isinstance(one, Operand)]
    if len(sizes) == 1 and isinstance(sizes[0], tuple):
        sizes = list(sizes[0])
    return sizes if all(type(size) is int for size in sizes) else []


def _widened(module: nn.Module | None, was: int, needs: int) -> Iterator[str]:
    """The linear layer that takes what is flattened, if it is only one."""
    parts = module.named_modules() if module is not None else ()
    fed = [(name, part) for name, part in parts if isinstance(part, nn.Linear) and part.in_features == was]
    if len(fed) == 1:
        name, part = fed[0]
        _, made = written(part, in_features=needs)
        if made:
            yield f"{_path_of(name)} = {made}"


def _path_of(name: str) -> str:
    """`body.0.conv` as code: `self.body[0].conv`."""
    return "self" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in name.split("."))


# A value for each pair


def _of_mask(operation: Operation, *_: Any) -> Remedy:
    """A mask of (samples, positions) or (samples, positions, positions) beside scores that have heads, too."""
    if operation.name not in (*ELEMENTWISE, "scaled_dot_product_attention"):
        return Remedy()
    if operation.name == "scaled_dot_product_attention":
        return _of_attention(operation)
    tensors = [one for one in operation.tensors if one.value.dim()]
    if len(tensors) != 2:
        return Remedy()
    scores, mask = sorted(tensors, key=lambda one: -one.value.dim())
    return _of_scores(scores, tuple(scores.value.shape), mask) if "mask" in mask.text.lower() else Remedy()


def _of_attention(operation: Operation) -> Remedy:
    tensors = operation.tensors
    if len(tensors) != 4:
        return Remedy()
    query, key, _, mask = tensors
    if query.value.dim() < 3 or key.value.dim() != query.value.dim():
        return Remedy()
    return _of_scores(query, (*query.value.shape[:-1], key.value.shape[-2]), mask)


def _of_scores(scores: Operand, shape: tuple[int, ...], mask: Operand) -> Remedy:
    given = tuple(mask.value.shape)
    if len(shape) not in (3, 4) or not 2 <= len(given) < len(shape):
        return Remedy()
    middle = len(shape) - len(given)
    if given != (shape[0], *shape[len(shape) - len(given) + 1 :]):
        return Remedy()
    index = "[:" + ", None" * middle + (", :]" if len(given) == 2 else "]")
    why = f"`{mask.text}` is {given}, samples first, and the scores are {shape}: shapes are matched from the back."
    compared = mask.text.partition(" == ")[0]
    text = compared if compared.isidentifier() else mask.text
    if not text.replace(".", "").isidentifier():
        text = f"({text})"
    return Remedy("", why, f"{text}{index}  # in place of {text}")


def _of_elementwise(operation: Operation, module: nn.Module | None, forward: FrameType | None) -> Remedy:
    """A block whose input is added to what it made of that: the one that can be mended is the block."""
    tensors = operation.tensors
    if operation.name not in ("add", "add_") or len(tensors) != 2 or module is None or forward is None:
        return Remedy()
    given = _only_given(forward)
    if given is None or not any(True for _ in module.children()):
        return Remedy()
    skip = [one for one in tensors if tuple(one.value.shape) == tuple(given.shape)]
    if len(skip) != 1 or not tensors[0].value.dim() == tensors[1].value.dim() == given.dim():
        return Remedy()
    (branch,) = [one for one in tensors if one is not skip[0]]
    for changes in _padded(module, forward):
        parts: dict[str, Any] = {name: module.get_submodule(name) for name in changes}
        kernels = " and ".join(f"`{name}` ({_by(part.kernel_size)})" for name, part in parts.items())
        why = f"{said(skip[0])} and {said(branch)}: without padding {kernels} takes the rim of its input away."
        return Remedy("", why, "\n".join(f"{_path_of(name)} = {made}" for name, (_, made) in changes.items()))
    for layer, made in _shortcuts(skip[0].value, branch.value):
        if _does(lambda layer=layer: _sum(layer(skip[0].value), branch.value)):  # type: ignore[misc]
            why = f"{said(skip[0])} and {said(branch)}: what goes past the block has to take its shape."
            used = f"self.shortcut({skip[0].text})  # in place of {skip[0].text}"
            return Remedy("", why, f"self.shortcut = {made}\n{used}")
    return Remedy()


def _sum(one: Tensor, other: Tensor) -> Tensor:
    """Only where both have one shape: a shape that stretches is not meant in a block."""
    if one.shape != other.shape:
        raise ValueError("they differ")
    return one + other


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _only_given(forward: FrameType) -> Tensor | None:
    """What a module was called with, where that is one tensor."""
    values = (*forward.f_locals["args"], *forward.f_locals["kwargs"].values())
    given = [value for value in values if isinstance(value, Tensor)]
    return given[0] if len(given) == 1 else None


def _padded(module: nn.Module, forward: FrameType) -> Iterator[dict[str, Layer]]:
    """Convolutions of a block, by their names, after whose padding all of it computes: one, or all of them."""
    made: dict[str, Layer] = {}
    for name, part in module.named_modules():
        if not isinstance(part, CONVOLUTIONS) or part.transposed or not isinstance(part.padding, tuple):
            continue
        if any(part.padding) or max(part.kernel_size) == 1 or not all(size % 2 for size in part.kernel_size):
            continue
        padding = tuple(d * (k - 1) // 2 for d, k in zip(part.dilation, part.kernel_size, strict=True))
        if (layer := written(part, padding=padding))[0] is not None:
            made[name] = layer
    alone = [{name: layer} for name, layer in list(made.items())[:MOST_CONVOLUTIONS]]
    for changes in [*alone, made] if len(alone) > 1 else alone:
        if _does(lambda changes=changes: _run(module, forward, changes)):  # type: ignore[misc]
            yield changes


def _run(module: nn.Module, forward: FrameType, changes: Mapping[str, Layer]) -> Any:
    """The module on what it was given, with other parts; on copies without values."""
    changed = bare_copy(module)
    for name, (layer, _) in changes.items():
        parent, _, last = name.rpartition(".")
        changed.get_submodule(parent)._modules[last] = copy.deepcopy(layer)
    args, kwargs = forward.f_locals["args"], forward.f_locals["kwargs"]
    return changed(*empty(tuple(args)), **{key: empty(value) for key, value in kwargs.items()})


def _shortcuts(skip: Tensor, branch: Tensor) -> Iterator[tuple[nn.Module, str]]:
    """Layers that may take what goes past a block to its shape."""
    one, other = skip.shape, branch.shape
    if one[0] != other[0]:
        return
    if skip.dim() in (2, 3) and one[:-1] == other[:-1]:
        yield nn.Linear(one[-1], other[-1], device="meta"), f"nn.Linear({one[-1]}, {other[-1]})"
    if skip.dim() in (3, 4, 5):
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[skip.dim() - 3]
        strides = {round(a / b) for a, b in zip(one[2:], other[2:], strict=True) if b}
        if len(strides) == 1 and (stride := strides.pop()) >= 1:
            more = f", stride={stride}" if stride > 1 else ""
            layer = kind(one[1], other[1], 1, stride=stride, device="meta", dtype=skip.dtype)
            yield layer, f"nn.{kind.__name__}({one[1]}, {other[1]}, 1{more})"


# Tensors joined, multiplied, looked up


def _of_join(operation: Operation, *_: Any) -> Remedy:
    if operation.name not in ("cat", "concat", "concatenate") or len(operation.tensors) != 2:
        return Remedy()
    first, second = operation.tensors
    axis = next((one.value for one in operation.operands if type(one.value) is int), 0)
    a, b = first.value, second.value
    listed = f"{said(first)} and {said(second)}"
    if a.dim() != b.dim():
        why = f"{listed}: they have different numbers of axes."
        for change, mended, pair in _of_one_number_of_axes(first, second, axis):
            if _does(functools.partial(torch.cat, pair, axis)):
                return Remedy("", why, f"{mended.text}.{change}  # in place of {mended.text}")
        return Remedy("", why)
    if a.dim() in (3, 4, 5) and axis == 1 and a.shape[0] == b.shape[0] and a.shape[2:] != b.shape[2:]:
        if not (a.is_floating_point() and b.is_floating_point()):
            return Remedy()
        larger, smaller = (first, second) if math.prod(a.shape[2:]) >= math.prod(b.shape[2:]) else (second, first)
        if smaller.text.isidentifier() and not larger.text.isidentifier():  # which is made on the line, and not twice
            larger, smaller = smaller, larger
        why = f"{listed}: joined along axis 1, they differ along others."
        made = f"nn.functional.interpolate({smaller.text}, size={larger.text}.shape[2:])"
        return Remedy("", why, f"{smaller.text} = {made}" if smaller.text.isidentifier() else f"{made}  # in its place")
    return Remedy()


def _of_one_number_of_axes(
    first: Operand, second: Operand, axis: int
) -> Iterator[tuple[str, Operand, tuple[Tensor, Tensor]]]:
    """Ways to give two tensors the same number of axes: the change, whose it is, and both after it."""
    more, fewer = (first, second) if first.value.dim() > second.value.dim() else (second, first)
    if 1 in more.value.shape[1:]:
        flat = more.value.flatten(1)
        yield "flatten(1)", more, (flat, second.value) if more is first else (first.value, flat)
    if -fewer.value.dim() - 1 <= axis <= fewer.value.dim():
        wide = fewer.value.unsqueeze(axis)
        yield f"unsqueeze({axis})", fewer, (first.value, wide) if fewer is second else (wide, second.value)


def _of_product(operation: Operation, *_: Any) -> Remedy:
    """A product whose second side stands the wrong way round."""
    if operation.name not in ("matmul", "mm", "bmm", "__matmul__") or len(operation.tensors) != 2:
        return Remedy()
    first, second = operation.tensors
    a, b = first.value, second.value
    if a.dtype != b.dtype:
        why = f"{said(first)} and {said(second)}: two types of numbers meet."
        return Remedy(
            "", why, f"{second.text}.to({first.text}.dtype)  # in its place" if first.text.isidentifier() else ""
        )
    turned = f"{second.text}.T" if b.dim() == 2 else f"{second.text}.transpose(-2, -1)"
    if b.dim() >= 2 and _does(lambda: a @ b.transpose(-2, -1)) and (operation.name != "bmm" or a.dim() == b.dim() == 3):
        return Remedy("", f"{said(first)} and {said(second)}: `{second.text}` is the wrong way round.",
                      f"{turned}  # in its place")  # fmt: skip
    return Remedy()


def _of_index(operation: Operation, *_: Any) -> Remedy:
    if operation.name != "gather" or len(operation.operands) != 3:
        return Remedy()
    source, axis, index = operation.operands
    if not isinstance(source.value, Tensor) or not isinstance(index.value, Tensor) or type(axis.value) is not int:
        return Remedy()
    why = f"{said(source)} and {said(index)}: indices have as many axes as what they are taken from."
    if index.value.dim() + 1 == source.value.dim():
        if _does(lambda: source.value.gather(axis.value, index.value.unsqueeze(axis.value))):
            return Remedy("", why, f"{index.text}.unsqueeze({axis.value})  # in place of {index.text}")
        return Remedy("", why)
    return Remedy()


def _does(run: Callable[[], Any]) -> bool:
    """Whether something computes, on tensors without values."""
    try:
        with apart(), torch.no_grad(), torch.device("meta"):
            run()
    except FAILURES:
        return False
    return True
