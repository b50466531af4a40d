"""What a layer or a loss takes, and the smallest change after which it can take what it was given.

A change of a layer or of its input is tried on tensors without values, and proposed only if the layer then computes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTIONS = nn.modules.conv._ConvNd
BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}
OF_CLASSES = ("cross_entropy", "nll_loss")
LIKE_TARGET = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss", "smooth_l1_loss",
               "huber_loss")  # fmt: skip
LOSS_MODULES = {
    nn.CrossEntropyLoss: "cross_entropy", nn.NLLLoss: "nll_loss", nn.BCELoss: "binary_cross_entropy",
    nn.BCEWithLogitsLoss: "binary_cross_entropy_with_logits", nn.MSELoss: "mse_loss", nn.L1Loss: "l1_loss",
    nn.SmoothL1Loss: "smooth_l1_loss", nn.HuberLoss: "huber_loss",
}  # fmt: skip


@dataclass(frozen=True)
class Remedy:
    """What a layer takes, in words; why what came is something else; the change that fits, as code."""

    expected: str = ""
    why: str = ""
    fix: str = ""


def of_layer(part: nn.Module, given: list[Tensor], name: str, *, in_list: bool) -> Remedy:
    """For a layer of torch's.

    Args:
        part: the layer.
        given: the tensors that it was given.
        name: of the first one in the user's code.
        in_list: whether the layer stands in an `nn.Sequential`, so that its input has no name.
    """
    expected = expected_of(part)
    if not given:
        return (
            Remedy()
            if not expected
            else Remedy(expected, "It takes tensors, and was given none: `torch.as_tensor(...)` makes one.")
        )
    first = given[0]
    if isinstance(part, nn.Embedding):
        return _of_embedding(part, first, name, expected)
    weight = next((p for p in part.parameters(recurse=False)), None)
    if weight is not None and (weight.is_meta or first.is_meta):
        expected = f"{expected} on {'cpu' if weight.is_meta else weight.device}".strip()
        if first.is_meta:
            return Remedy(expected, f"`{name}` is on the device `meta`, and holds no values.")
        why = "Its weights are on the device `meta`, and hold no values: it was made there and never given any."
        return Remedy(expected, why, f"model.to_empty(device='{first.device}')  # and then load or draw its weights")
    before = ""
    if weight is not None and first.device != weight.device:
        before += f".to({str(weight.device)!r})"
    if weight is not None and first.dtype != weight.dtype and not (first.is_complex() or weight.is_complex()):
        before += f".to({weight.dtype})"
        expected = f"{expected} of {str(weight.dtype).removeprefix('torch.')}" if expected else str(weight.dtype)
    if isinstance(part, nn.MultiheadAttention) and (len(given) > 1 or _has_its_size(part, first)):
        fits = all(
            t.shape[-1:] == (size,) for t, size in zip(given, (part.embed_dim, part.kdim, part.vdim), strict=False)
        )
        return Remedy(expected) if before or not fits else Remedy()
    bare = torch.empty(first.shape, dtype=weight.dtype if weight is not None else first.dtype, device="meta")
    for change, (layer, written) in _changes(part, bare):
        if _computes(layer if layer is not None else _twin(part), bare, change):
            return Remedy(expected, "", _as_code(name, before, change, written, in_list))
    return Remedy() if not before and _has_its_size(part, first) else Remedy(expected)


Change = tuple[Any, ...]
"""Of a tensor: name of a method, and its arguments; empty for none."""
Layer = tuple[nn.Module | None, str]
"""A layer without values, and the code that makes it; None and nothing for the layer as it is."""
AS_IT_IS: Layer = (None, "")
FLATTENED: Change = ("flatten", 1)


def _as_code(name: str, before: str, change: Change, layer: str, in_list: bool) -> str:
    lines = []
    if change == FLATTENED and in_list:
        lines.append("nn.Flatten(),  # in front of it")
    elif change:
        before += f".{change[0]}({', '.join(map(str, change[1:]))})"
    if before:
        lines.insert(0, f"{name} = {name}{before}" + ("  # before the model is called" if in_list else ""))
    return "\n".join([*lines, layer] if layer else lines)


def _changes(part: nn.Module, given: Tensor) -> Iterator[tuple[Change, Layer]]:
    """Changes of the input and of the layer; the smallest first."""
    shape, axes = given.shape, given.dim()
    yield (), AS_IT_IS
    match part:
        case nn.Linear() if axes:
            yield FLATTENED, AS_IT_IS
            if axes < 4:
                yield (), written(part, in_features=shape[-1])
            yield FLATTENED, written(part, in_features=math.prod(shape[1:]))
        case nn.modules.conv._ConvNd():
            space = len(part.kernel_size)
            if axes == space + 2:
                if shape[1] != part.in_channels == shape[-1]:
                    yield ("permute", 0, axes - 1, *range(1, axes - 1)), AS_IT_IS
                yield (), written(part, in_channels=shape[1])
            elif axes == space + 1 and part.in_channels == 1:
                yield ("unsqueeze", 1), AS_IT_IS
            elif axes == 2 and space == 2 and shape[1] % part.in_channels == 0:
                side = math.isqrt(shape[1] // part.in_channels)
                if side * side * part.in_channels == shape[1]:
                    yield ("reshape", -1, part.in_channels, side, side), AS_IT_IS
        case nn.modules.batchnorm._BatchNorm() if axes == 2 or (axes > 2 and shape[-1] != part.num_features):
            yield (), written(part, num_features=shape[1])
            yield (), written(part, num_features=shape[1], kind=BATCH_NORMS.get(axes))
        case nn.GroupNorm() if axes > 1 and shape[1] % part.num_groups == 0:
            yield (), written(part, num_channels=shape[1])
        case nn.LayerNorm() if axes >= len(part.normalized_shape):
            yield (), written(part, normalized_shape=tuple(shape[axes - len(part.normalized_shape) :]))
        case nn.RNNBase() if axes in (2, 3):
            yield (), written(part, input_size=shape[-1])
        case nn.MultiheadAttention() if axes in (2, 3) and shape[-1] % part.num_heads == 0:
            yield (), written(part, embed_dim=shape[-1])


def _twin(part: nn.Module, kind: Any = None, **changed: Any) -> nn.Module | None:
    """A layer without values that is built like another one, with other sizes; None for a class that is not known."""
    own = kind or type(part)
    if not own.__module__.startswith("torch.nn.modules"):
        return None
    names = {
        nn.Linear: ("in_features", "out_features"),
        CONVOLUTIONS: ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
        nn.modules.batchnorm._BatchNorm: ("num_features", "eps", "momentum", "affine", "track_running_stats"),
        nn.LayerNorm: ("normalized_shape", "eps"),
        nn.GroupNorm: ("num_groups", "num_channels", "eps", "affine"),
        nn.RNNBase: ("input_size", "hidden_size", "num_layers", "batch_first", "dropout", "bidirectional"),
        nn.MultiheadAttention: ("embed_dim", "num_heads", "dropout", "batch_first"),
    }
    attributes = next((found for base, found in names.items() if isinstance(part, base)), None)
    if attributes is None or getattr(part, "padding_mode", "zeros") != "zeros":
        return None
    options = {name: getattr(part, name) for name in attributes} | changed
    if isinstance(part, nn.Linear | CONVOLUTIONS):
        options["bias"] = part.bias is not None
    elif isinstance(part, nn.RNNBase):
        options["bias"] = part.bias
    elif isinstance(part, nn.MultiheadAttention):
        options["bias"] = part.in_proj_bias is not None
    weight = next((p for p in part.parameters(recurse=False)), None)
    twin: nn.Module = own(**options, device="meta", dtype=weight.dtype if weight is not None else None)
    return twin.train(part.training)


def written(part: nn.Module, kind: Any = None, **changed: Any) -> Layer:
    """A changed layer, and the code that makes it."""
    try:
        twin = _twin(part, kind, **changed)
    except (RuntimeError, ValueError):  # sizes that exclude each other
        return AS_IT_IS
    if twin is None:
        return AS_IT_IS
    match twin:
        case nn.Linear():
            own = f"Linear({twin.in_features}, {twin.out_features}{'' if twin.bias is not None else ', bias=False'})"
        case nn.modules.batchnorm._BatchNorm() if (twin.eps, twin.momentum, twin.affine) == (1e-5, 0.1, True):
            own = f"{type(twin).__name__}({twin.num_features})"
        case nn.MultiheadAttention():
            more = "".join(
                f", {name}={value}"
                for name, value, usual in (
                    ("dropout", twin.dropout, 0.0),
                    ("bias", twin.in_proj_bias is not None, True),
                    ("batch_first", twin.batch_first, False),
                )
                if value != usual
            )
            own = f"MultiheadAttention({twin.embed_dim}, {twin.num_heads}{more})"
        case nn.GroupNorm() if (twin.eps, twin.affine) == (1e-5, True):
            own = f"GroupNorm({twin.num_groups}, {twin.num_channels})"
        case nn.LayerNorm() if len(twin.normalized_shape) == 1 and twin.eps == 1e-5:
            own = f"LayerNorm({twin.normalized_shape[0]})"
        case _:
            own = repr(twin)
    return twin, f"nn.{own}"


def _computes(layer: nn.Module | None, given: Tensor, change: Change) -> bool:
    """Whether a layer can take a tensor of this shape, after a change of it."""
    if layer is None:
        return False
    times = 3 if isinstance(layer, nn.MultiheadAttention) else 1
    try:
        layer.forward(*[getattr(given, change[0])(*change[1:]) if change else given] * times)
    except (RuntimeError, ValueError, IndexError, NotImplementedError, AssertionError):
        return False
    return True


def expected_of(part: nn.Module) -> str:
    """What a layer takes, in words; empty where it is not known."""
    match part:
        case nn.Linear():
            return f"(..., {part.in_features})"
        case nn.modules.conv._ConvNd():
            return f"(samples, {part.in_channels}, {AXES[len(part.kernel_size)]})"
        case nn.BatchNorm1d():
            return f"(samples, {part.num_features}) or (samples, {part.num_features}, length)"
        case nn.BatchNorm2d():
            return f"(samples, {part.num_features}, height, width)"
        case nn.modules.batchnorm._NormBase():
            return f"(samples, {part.num_features}, ...)"
        case nn.GroupNorm():
            return f"(samples, {part.num_channels}, ...)"
        case nn.LayerNorm():
            return f"(..., {', '.join(map(str, part.normalized_shape))})"
        case nn.Embedding():
            return f"whole numbers from 0 to {part.num_embeddings - 1}"
        case nn.RNNBase():
            return f"(samples, time, {part.input_size})" if part.batch_first else f"(time, samples, {part.input_size})"
        case nn.MultiheadAttention() if part._qkv_same_embed_dim:
            return f"(..., {part.embed_dim})"
        case nn.MultiheadAttention():
            return f"query (..., {part.embed_dim}), key (..., {part.kdim}), value (..., {part.vdim})"
    return ""


def _has_its_size(part: nn.Module, given: Tensor) -> bool:
    """Whether a tensor is what a layer takes as far as it is known, so that something else is wrong."""
    match part:
        case nn.Linear():
            return bool(given.dim()) and given.shape[-1] == part.in_features
        case nn.MultiheadAttention():
            return bool(given.dim()) and given.shape[-1] == part.embed_dim
        case nn.modules.conv._ConvNd():
            return given.dim() == len(part.kernel_size) + 2 and bool(given.shape[1] == part.in_channels)
        case nn.modules.batchnorm._NormBase():
            return given.dim() > 1 and bool(given.shape[1] == part.num_features)
    return False


def _of_embedding(part: nn.Embedding, given: Tensor, name: str, expected: str) -> Remedy:
    if not given.numel() or given.is_meta:
        return Remedy(expected)
    low, high = float(given.min()), float(given.max())
    if not bool((given == given.round()).all()):
        return Remedy(expected, "Its input are numbers with fractions, and no indices.")
    why = f"The indices go from {low:.0f} to {high:.0f}, and it has rows for 0 to {part.num_embeddings - 1}."
    if low < 0:
        return Remedy(expected, why)
    lines = [f"{name} = {name}.long()"] if given.is_floating_point() else []
    if high >= part.num_embeddings:
        padding = f", padding_idx={part.padding_idx}" if part.padding_idx is not None else ""
        lines.append(f"nn.Embedding({high + 1:.0f}, {part.embedding_dim}{padding})")
        return Remedy(expected, why, "\n".join(lines))
    return Remedy(expected, "", "\n".join(lines))


# Losses


def of_loss(
    function: str, part: nn.Module | None, output: Any, target: Any, names: tuple[str, str], weights: dict[str, Any]
) -> Remedy:
    """For a loss of torch's: `function` by name, or `part` as a module.

    Args:
        function: name of the function; empty for a module.
        part: the module; None for a function.
        output: its first argument.
        target: its second argument.
        names: what the user's code calls the two.
        weights: of classes or outputs, by the name that the loss has for them.
    """
    function = LOSS_MODULES.get(type(part), "") if part is not None else function
    if not isinstance(output, Tensor) or not isinstance(target, Tensor):
        other = next((type(v).__name__ for v in (output, target) if not isinstance(v, Tensor)), "")
        return Remedy(
            "two tensors", f"One of the two is of type {other}: take the tensor out of it, or make one of it."
        )
    if function in (*OF_CLASSES, *LIKE_TARGET):
        remedy = _of_weights(output, target, weights, of_classes=function in OF_CLASSES)
        if remedy.why:
            return remedy
    if function in OF_CLASSES:
        return _of_classes(output, target, names)
    if function in LIKE_TARGET:
        return _like_target(function, output, target, names)
    return Remedy()


def _of_weights(output: Tensor, target: Tensor, weights: dict[str, Any], *, of_classes: bool) -> Remedy:
    """For weights of classes or of outputs that do not fit, where output and target do."""
    for name, weight in weights.items():
        if not isinstance(weight, Tensor) or (of_classes and output.dim() < 2):
            continue
        wanted = (output.shape[1],) if of_classes else tuple(output.shape)
        if of_classes and tuple(weight.shape) != wanted:
            why = f"`{name}` has {weight.numel()} entries, and there are {wanted[0]} classes."
            return Remedy(f"`{name}` of shape {wanted}", why)
        if not of_classes and target.shape == output.shape and not stretches(weight.shape, output.shape):
            why = f"`{name}` is {tuple(weight.shape)}, and the output {wanted}."
            return Remedy(f"`{name}` that fits {wanted}: one for each output", why)
        if weight.dtype != output.dtype and of_classes:
            why = f"`{name}` is of type {str(weight.dtype).removeprefix('torch.')}, and the output of another."
            return Remedy(
                f"`{name}` of {str(output.dtype).removeprefix('torch.')}", why, f"{name}={name}.to({output.dtype})"
            )
    return Remedy()


def stretches(one: torch.Size, to: torch.Size) -> bool:
    """Whether a shape stretches to another one."""
    try:
        return bool(torch.broadcast_shapes(one, to) == to)
    except RuntimeError:
        return False


def _of_classes(output: Tensor, target: Tensor, names: tuple[str, str]) -> Remedy:
    first, second = names
    if output.dim() < 2:
        return Remedy("(samples, classes) and (samples,)")
    classes, rows = output.shape[1], (output.shape[0], *output.shape[2:])
    expected = f"{tuple(output.shape)} and class indices {rows}"
    change, values = "", target
    if output.dim() > 2 and target.shape == output.shape[:-1] and target.shape != rows:
        fix = f"{first} = {first}.movedim(-1, 1)"
        return Remedy(f"classes on axis 1: {(output.shape[0], output.shape[-1], *output.shape[1:-1])} and "
                      f"{tuple(target.shape)}", "", fix if _within(target, output.shape[-1]) else "")  # fmt: skip
    if target.dim() == output.dim() and target.shape[1] == 1 and target.squeeze(1).shape == rows:
        change, values = ".squeeze(1)", target.squeeze(1)
    if values.shape != rows:
        return _of_other_rows(output, target, names, expected)
    if values.dtype != torch.long:
        change += ".long()"
    if not _within(values, classes):
        low, high = float(values.min()), float(values.max())
        why = f"The labels go from {low:g} to {high:g}, and the outputs stand for 0 to {classes - 1}."
        counts_from_one = low == 1 and high == classes and bool((values == values.round()).all())
        fix = f"{second} = {second}{change} - 1" if counts_from_one else ""
        return Remedy(f"class indices from 0 to {classes - 1}", why, fix)
    return Remedy(expected, "", f"{second} = {second}{change}" if change else "")


def _of_other_rows(output: Tensor, target: Tensor, names: tuple[str, str], expected: str) -> Remedy:
    """For a target that has not one class for each row."""
    second = names[1]
    why = "The target's shape is not that of one class for each sample."
    if target.shape == output.shape and not target.is_floating_point() and _is_one_hot(target):
        return Remedy(expected, f"{why} It has a 1 for the class and 0 for others.", f"{second} = {second}.argmax(1)")
    rows, given = output.shape[0], target.shape
    if output.dim() == 2 and target.dim() > 1 and target.numel() == rows and _within(target, output.shape[1]):
        why = f"The output has its {rows} rows one below the other, and the target is {tuple(given)}."
        return Remedy(expected, why, f"{second} = {second}.flatten()")
    if output.dim() == 2 and target.dim() == 1:
        why = f"The output has {rows} rows for {given[0]} targets."
        if rows and given[0] and max(rows, given[0]) % min(rows, given[0]) == 0:
            why += " A `view` or `reshape` before it may have made rows of parts of samples, or samples of rows."
    return Remedy(expected, why)


def _is_one_hot(target: Tensor) -> bool:
    return bool(((target == 0) | (target == 1)).all()) and bool((target.sum(1) == 1).all())


def _within(target: Tensor, classes: int) -> bool:
    """Whether all are whole numbers that name a class, or are left out (-100)."""
    whole = bool((target == target.round()).all()) if target.is_floating_point() else True
    return whole and bool((((target >= 0) & (target < classes)) | (target == -100)).all())


def _like_target(function: str, output: Tensor, target: Tensor, names: tuple[str, str]) -> Remedy:
    first, second = names
    expected = f"two tensors of shape {tuple(output.shape)} and type {str(output.dtype).removeprefix('torch.')}"
    change = f".to({output.dtype})" if target.dtype != output.dtype and not target.is_complex() else ""
    if function == "binary_cross_entropy" and bool(((output < 0) | (output > 1)).any()):
        return Remedy("probabilities from 0 to 1", "Its first argument is no probability.", "nn.BCEWithLogitsLoss()")
    if target.shape != output.shape:
        if target.numel() != output.numel():
            if "logits" in function and (*target.shape, 2) == tuple(output.shape) and _within(target, 2):
                why = (
                    f"The output tells of two classes for each sample, and the target {tuple(target.shape)} names one."
                )
                return Remedy(expected, why, f"nn.functional.cross_entropy({first}, {second}.long())")
            return Remedy(expected, f"The output is {tuple(output.shape)} and the target {tuple(target.shape)}.")
        one_less = (*target.shape, 1) == tuple(output.shape)
        change += ".unsqueeze(-1)" if one_less else f".reshape({first}.shape)"
    return Remedy(expected, "", f"{second} = {second}{change}" if change else "")
