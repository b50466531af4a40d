"""What an exception says that a model or its loss raised: in which layer, what it was given, and what it takes."""

from __future__ import annotations

from types import FrameType
from typing import Any

from torch import Tensor, nn

from stethoscope.facts.model import Crash
from stethoscope.observe.model.ingredients import tensors_in
from stethoscope.observe.training.sites import is_users, site_of

MOST_MESSAGE = 300


def crash_of(error: BaseException | None) -> Crash | None:
    """Where and on what a forward pass or a loss failed; None when the exception came from elsewhere.

    Reads the frames of the traceback only: the module is the innermost one whose `forward` was running.
    """
    frames = _frames(error)
    modules = [(frame, part) for frame in frames if (part := _module_of(frame)) is not None]
    losses = [frame for frame in frames if frame.f_globals.get("__name__") == "torch.nn.functional"]
    if error is None or not (modules or losses):
        return None
    of_loss = [each for each in modules if isinstance(each[1], nn.modules.loss._Loss)]
    frame, part = modules[-1] if modules else (losses[0], None)
    if part is None:
        frame = losses[0]
    given = [tensor for _, tensor in tensors_in(tuple(_arguments(frame)))]
    users = [f for f in frames if is_users(f.f_code)]
    site = site_of((users[-1].f_code, users[-1].f_lineno)) if users else None
    message = " ".join(str(error).split())[:MOST_MESSAGE]
    return Crash(
        error=type(error).__name__,
        message=message,
        module=_path(modules[0][1], part) if part is not None and not of_loss else "",
        kind=type(part).__name__ if part is not None else frame.f_code.co_name,
        site=site,
        input_shapes=tuple(tuple(t.shape) for t in given[:4]),
        input_dtypes=tuple(str(t.dtype).removeprefix("torch.") for t in given[:4]),
        expected=_expected(part, given) if part is not None else "",
        fix=_fix(part, given, message) if part is not None else "",
    )


def _frames(error: BaseException | None) -> list[FrameType]:
    """From the outermost to the innermost."""
    frames = []
    tb = error.__traceback__ if error is not None else None
    while tb is not None:
        frames.append(tb.tb_frame)
        tb = tb.tb_next
    return frames


def _module_of(frame: FrameType) -> nn.Module | None:
    part = frame.f_locals.get("self")
    return part if frame.f_code.co_name == "forward" and isinstance(part, nn.Module) else None


def _arguments(frame: FrameType) -> list[Any]:
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount]
    return [frame.f_locals[name] for name in names if name != "self" and name in frame.f_locals]


def _path(root: nn.Module, part: nn.Module) -> str:
    return next((name for name, each in root.named_modules() if each is part), "")


def _expected(part: nn.Module, given: list[Tensor]) -> str:
    """What a layer takes, in words; empty where it is not known."""
    match part:
        case nn.Linear():
            return f"(..., {part.in_features})"
        case nn.modules.conv._ConvNd():
            axes = ("length",) if len(part.kernel_size) == 1 else ("depth", "height", "width")[-len(part.kernel_size) :]
            return f"(samples, {part.in_channels}, {', '.join(axes)})"
        case nn.modules.batchnorm._NormBase():
            return f"(samples, {part.num_features}, ...)"
        case nn.LayerNorm():
            return f"(..., {', '.join(map(str, part.normalized_shape))})"
        case nn.Embedding():
            return f"whole numbers from 0 to {part.num_embeddings - 1}"
        case nn.RNNBase():
            return f"(samples, time, {part.input_size})" if part.batch_first else f"(time, samples, {part.input_size})"
        case nn.MultiheadAttention():
            return f"(..., {part.embed_dim})"
    return ""


def _fix(part: nn.Module, given: list[Tensor], message: str) -> str:
    """The change that fits, as code; empty where it is not known."""
    if not given:
        return ""
    first = given[0]
    weight = next((p for p in part.parameters(recurse=False)), None)
    of_another_type = weight is not None and first.dtype != weight.dtype and not first.is_complex()
    if weight is not None and of_another_type and not isinstance(part, nn.Embedding):
        return f"x = x.to(torch.{str(weight.dtype).removeprefix('torch.')})"
    if weight is not None and first.device != weight.device:
        return f"x = x.to('{weight.device}')"
    if isinstance(part, nn.Linear) and first.dim() and first.shape[-1] != part.in_features:
        rest = first[0].numel() if first.dim() > 1 else 0
        if rest == part.in_features:
            return "x = x.flatten(1)"
        width = rest if first.dim() > 2 and "flatten" in message else first.shape[-1]
        return f"nn.Linear({width}, {part.out_features})"
    if isinstance(part, nn.modules.conv._ConvNd) and first.dim() == len(part.kernel_size) + 2:
        if first.shape[-1] == part.in_channels:
            order = (0, first.dim() - 1, *range(1, first.dim() - 1))
            return f"x = x.permute{order}"
        if first.shape[1] != part.in_channels:
            return f"nn.{type(part).__name__}({first.shape[1]}, {part.out_channels}, kernel_size={part.kernel_size[0]})"
    if isinstance(part, nn.modules.conv._ConvNd) and first.dim() == len(part.kernel_size) + 1 and part.in_channels == 1:
        return "x = x.unsqueeze(1)"
    if isinstance(part, nn.Embedding):
        if first.is_floating_point():
            return "x = x.long()"
        largest = int(first.max()) if first.numel() else 0
        if largest >= part.num_embeddings:
            return f"nn.Embedding({largest + 1}, {part.embedding_dim})"
    if isinstance(part, nn.modules.batchnorm._NormBase) and first.dim() > 1 and first.shape[1] != part.num_features:
        return f"nn.{type(part).__name__}({first.shape[1]})"
    if isinstance(part, nn.LayerNorm) and first.dim():
        return f"nn.LayerNorm({first.shape[-1]})"
    return ""
