"""What an exception says that a model, its loss or its backward pass raised: where, what was given, and what fits.

Only the frames of the traceback are read. Who raised it decides what is said: a layer or a loss of torch's that cannot
take its arguments, an operation on a line of the user's, or the user's own code, of which only its words are known.
"""

from __future__ import annotations

import inspect
import linecache
import re
from dataclasses import dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stethoscope.facts.code import Site
from stethoscope.facts.model import Crash
from stethoscope.observe.model.ingredients import tensors_in
from stethoscope.observe.preflight.beside import of_beside
from stethoscope.observe.preflight.compiled import eager_error, is_traced, users_place, words_of
from stethoscope.observe.preflight.fitting import NO_MEMORY, last_before, of_library, of_line, of_memory, of_samples
from stethoscope.observe.preflight.known import of_gradients, of_tensors, of_words
from stethoscope.observe.preflight.lines import operation_at
from stethoscope.observe.preflight.operations import of_operation, said
from stethoscope.observe.preflight.remedies import Remedy, of_layer, of_loss
from stethoscope.observe.training.sites import is_compilers_file, is_users, is_users_file, site_in, site_of

if TYPE_CHECKING:
    from stethoscope.observe.training.models import ModelBook

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Of a terminal, which Keras writes into its messages."""
MOST_MESSAGE = 300
MOST_SHOWN = 4
LOSSES = frozenset(
    name for name in dir(torch.nn.functional) if name.endswith("_loss") or name.startswith("binary_cross_entropy")
) | {"cross_entropy", "kl_div"}
OF_BACKWARD = ("torch._tensor", "torch.autograd", "torch.autograd.graph")
OPERATIONS = (RuntimeError, IndexError, ValueError, TypeError)
"""Raised by torch's operations, on a line of the user's; any other type is raised by the user's own code there."""
MISSING_DEVICE = ("not compiled with CUDA", "no NVIDIA driver", "No CUDA GPUs", "device type at start of device string",
                  "invalid device ordinal", "PyTorch is not linked with support for")  # fmt: skip


@dataclass(frozen=True)
class _Where:
    """The innermost part of a model, a loss or a backward pass that was at work."""

    during: str
    frame: FrameType
    part: nn.Module | None = None
    roots: tuple[nn.Module, ...] = ()
    """Modules of which a method was running, the outermost first."""
    is_in_list: bool = False
    """Whether the part was called by a container, so that no line of the user's stands before it."""
    called: FrameType | None = None
    """The frame that called the part's `forward`, which has its arguments as they were given; None where unknown."""


def crash_of(error: BaseException | None, *, always: bool = False, book: ModelBook | None = None) -> Crash | None:
    """Where and on what a forward pass, a loss or a backward pass failed, or a loader could make no batch.

    Args:
        error: with its traceback.
        book: the layers that were heard before.
        always: whether it is known to come from the model, its loss or its optimizer; else None is given for an
            exception that came from elsewhere.
    """
    if error is None:
        return None
    spots = _spots(error)
    if is_traced(error) or any(is_compilers_file(frame.f_code.co_filename) for frame in spots):
        return _of_compiled(error, spots)
    frames = list(spots)
    whole = " ".join(COLOURS.sub("", str(error)).split())
    message = _last_words(str(error)) if " DataLoader worker process " in whole else whole.partition(" Hint: ")[0]
    message = message if len(message) <= MOST_MESSAGE else message[: MOST_MESSAGE - 1] + "…"
    users = [frame for frame in frames if is_users(frame.f_code)]
    plain = Crash(type(error).__name__, message, site=_site(users[-1], spots) if users else None, during="training")
    where = _where(frames)
    samples = of_samples(frames, whole) if where is None else None
    if where is None and samples is None and (crash := of_words(plain, error, frames, whole)) is not None:
        return crash
    no_device = _is_of_device(whole) and str(frames[-1].f_globals.get("__name__")).partition(".")[0] == "torch"
    if where is None and samples is None and not always and not no_device:
        return None
    if samples is not None:
        kind, shapes, remedy = samples
        crash = _with(replace(plain, during="data", kind=kind), [], remedy)
        return replace(crash, input_shapes=shapes, input_dtypes=("",) * len(shapes))
    if where is None:
        return _without_device(plain) if no_device else plain
    try:
        crash = _explained(plain, where, users[-1] if users else None, error, spots, book)
    except Exception:  # tensors on a device that has failed cannot be read any more
        return plain
    if crash.during == "layer" and not crash.why:
        crash = replace(crash, why=_source(book, where))
    return crash


def _last_words(text: str) -> str:
    """Of an exception that a worker process raised, which comes with the traceback that it had there."""
    return text.strip().splitlines()[-1].partition(": ")[2] or text.strip().splitlines()[-1]


def _is_of_device(message: str) -> bool:
    return any(words in message for words in MISSING_DEVICE)


def _without_device(crash: Crash) -> Crash:
    """The same, where a device was asked for that is not there."""
    why = "It asks for a device that this machine, or this build of torch, does not have."
    return replace(crash, during="device", why=why, fix='device = "cuda" if torch.cuda.is_available() else "cpu"')


def _source(book: ModelBook | None, where: _Where) -> str:
    """A sentence that says which layer put out what another was given; empty where that is not sure."""
    last = last_before(book, where.part, _given(where))
    module = last.module() if last is not None else None
    if last is None or module is None:
        return ""
    name = _path(where.roots, module) or last.name
    return f"What arrives comes from `{name}` ({last.kind}), which gave {last.output_shape}."


def _of_compiled(error: BaseException, spots: Spots) -> Crash:
    """Of a model that is compiled: what the model itself raises on the same, else what the compiler says."""
    frames = list(spots)
    met = eager_error(frames, with_values=not is_traced(error))
    if met is not None and (crash := crash_of(met, always=True)) is not None:
        return crash
    kind, words = words_of(error)
    lines = [site for place in users_place(error) if is_users_file(place[0]) and (site := site_in(*place)) is not None]
    if not lines:
        users = [frame for frame in frames if is_users(frame.f_code)]
        lines = [site for frame in users if (site := _site(frame, spots)) is not None]
    message = " ".join(words.split())[:MOST_MESSAGE]
    return Crash(kind, message, site=lines[-1] if lines else None, during="code")


Spots = dict[FrameType, tuple[int, int]]
"""The frames of a traceback, from the outermost, with the line and the instruction at which each was left."""


def _spots(error: BaseException) -> Spots:
    found, tb = {}, error.__traceback__
    while tb is not None:
        found[tb.tb_frame] = (tb.tb_lineno or 0, tb.tb_lasti)
        tb = tb.tb_next
    return found


def _site(frame: FrameType, spots: Spots) -> Site | None:
    return site_of((frame.f_code, spots[frame][0]))


def _where(frames: list[FrameType]) -> _Where | None:
    found: _Where | None = None
    roots: list[nn.Module] = []
    before: nn.Module | None = None
    for outer, frame in zip([None, *frames], frames, strict=False):
        module = str(frame.f_globals.get("__name__"))
        name = frame.f_code.co_name
        part = _self(frame)
        if isinstance(part, nn.Module):
            roots.append(part)
        if isinstance(part, nn.Module) and name == "forward":
            during = "loss" if isinstance(part, nn.modules.loss._Loss) else "layer"
            found = _Where(during, frame, part, tuple(roots), isinstance(before, nn.Sequential), _caller(outer))
            before = part
        elif frame is frames[-1] and isinstance(part, nn.Module) and name in ("_call_impl", "_forward_unimplemented"):
            found = _Where("call", frame, part, tuple(roots))
        elif module == "torch.nn.functional" and name in LOSSES:
            found = _Where("loss", frame, None, tuple(roots))
        elif module in OF_BACKWARD and name in ("backward", "grad", "_engine_run_backward"):
            found = _Where("backward", frame, None, tuple(roots))
    return found


def _caller(frame: FrameType | None) -> FrameType | None:
    """The frame, if it is torch's own that calls a module's `forward`."""
    known = frame is not None and frame.f_globals.get("__name__") == "torch.nn.modules.module"
    return frame if known and frame is not None and {"args", "kwargs"} <= frame.f_locals.keys() else None


def _self(frame: FrameType) -> Any:
    code = frame.f_code
    return frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None


def _explained(
    plain: Crash, where: _Where, user: FrameType | None, error: BaseException, spots: Spots, book: ModelBook | None
) -> Crash:
    """The same with what is known of the place and its arguments."""
    part, message = where.part, plain.message
    kind = type(part).__name__ if part is not None else where.frame.f_code.co_name
    inside = where.during == "layer" and part is not None and where.roots
    crash = replace(
        plain,
        during=where.during,
        kind=kind,
        module=_path(where.roots, part) if inside or where.during == "call" else "",
    )
    if isinstance(error, torch.OutOfMemoryError) or any(words in message for words in NO_MEMORY):
        return _with(replace(crash, during="memory"), _given(where), of_memory(message, _given(where)))
    if _is_of_device(message):
        return _without_device(crash)
    if where.during == "call":
        return _called(crash, part, error)
    if where.during == "backward":
        shapes = [parameter.shape for parameter in book.parameters] if book is not None else []
        why, fix = of_gradients(" ".join(str(error).split()), shapes)
        return replace(crash, kind="", why=why, fix=fix)
    given = _given(where)
    if where.during == "loss":
        first, second = _pair(where.frame)
        names = (_name(first, user, "output"), _name(second, user, "target"))
        function = where.frame.f_code.co_name if part is None else ""
        weights = {name: where.frame.f_locals.get(name) for name in ("weight", "pos_weight")}
        return _with(crash, given, of_loss(function, part, first, second, names, weights))
    assert part is not None
    if is_users(where.frame.f_code):
        return _on_a_line(crash, given, where, error, spots)
    name = _name(given[0], user, "x") if given else "x"
    remedy = of_library(where.roots, part, given)
    if not remedy.why:
        remedy = of_beside(part, where.called, name, message)
    if not remedy.why:
        remedy = of_layer(part, given, name, in_list=where.is_in_list)
    if not remedy.expected and not remedy.why:
        remedy = _in_library(where.frame, spots[where.frame][0])
    return _with(crash, given, remedy)


def _given(where: _Where) -> list[Tensor]:
    """The tensors that it was given: as it was called, since `forward` may give its names other values."""
    values = tuple(_arguments(where.frame))
    if where.called is not None:
        values = (*where.called.f_locals["args"], *where.called.f_locals["kwargs"].values())
    given = [tensor for _, tensor in tensors_in(values)]
    if isinstance(where.part, nn.MultiheadAttention):
        return given[:1] if all(tensor is given[0] for tensor in given[:3]) else given[:3]
    return given[:1] if isinstance(where.part, nn.RNNBase) else given  # states are made of the input


def _in_library(frame: FrameType, line: int) -> Remedy:
    """A line of a library's module that names tensors of which it can make nothing."""
    shown = _tensors_on_line(frame, line)
    if type(_self(frame)).__module__.startswith("torch.") or len(shown) < 2:
        return Remedy()
    file = f"{frame.f_code.co_filename.rpartition('/')[2]}:{line}"
    return Remedy("", f"At {file} {_listed(shown)}, and an operation cannot take these.")


def _with(crash: Crash, given: list[Tensor], remedy: Remedy) -> Crash:
    return replace(
        crash,
        input_shapes=tuple(tuple(t.shape) for t in given[:MOST_SHOWN]),
        input_dtypes=tuple(_short(t) for t in given[:MOST_SHOWN]),
        expected=remedy.expected,
        why=remedy.why,
        fix=remedy.fix,
    )


def _called(crash: Crash, part: nn.Module | None, error: BaseException) -> Crash:
    """A module was called, and its `forward` never began."""
    if isinstance(error, NotImplementedError) and part is not None:
        return replace(crash, during="code", why=f"`{type(part).__name__}` defines no method `forward`.")
    try:
        parameters = [] if part is None else list(inspect.signature(part.forward).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [str(p.replace(annotation=p.empty)) for p in parameters]
    takes = f"forward({', '.join(names)})" if names else ""
    return replace(crash, expected=takes, why="Its `forward` has other parameters.")


def _on_a_line(crash: Crash, given: list[Tensor], where: _Where, error: BaseException, spots: Spots) -> Crash:
    """The exception came from a line of a module's own code: an operation of torch's there, or the code itself."""
    raised_by = list(spots)[-1]
    user = [frame for frame in spots if is_users(frame.f_code)][-1]
    by_operation = isinstance(error, OPERATIONS) and (
        type(error) is RuntimeError or not is_users(raised_by.f_code) or _calls_torch(raised_by, error)
    )
    why, fix = _of_operation(user, where, spots, str(error)) if by_operation else ("", "")
    crash = replace(crash, during="code", why=why, fix=fix)
    return replace(
        crash,
        input_shapes=tuple(tuple(t.shape) for t in given[:MOST_SHOWN]),
        input_dtypes=tuple(_short(t) for t in given[:MOST_SHOWN]),
    )


def _of_operation(user: FrameType, where: _Where, spots: Spots, message: str) -> tuple[str, str]:
    """Why an operation on a line failed, and what fits."""
    line, last = spots[user]
    operation, owner = operation_at(user, line, last), _self(user)
    why, fix = of_tensors(message)
    if why:
        return why, fix
    if operation is not None:
        module = owner if isinstance(owner, nn.Module) else None
        remedy = of_operation(operation, module, where.called if user is where.frame else None)
        if remedy.why:
            return remedy.why, remedy.fix
    shown = _tensors_on_line(user, line)
    fits = of_line(shown, message) if len(shown) > 1 else Remedy()
    if fits.why:
        return f"On this line {_listed(shown)}. {fits.why}", fits.fix
    if operation is not None and operation.tensors:
        listed = " and ".join(said(one) for one in operation.tensors[:MOST_SHOWN])
        return f"In `{operation.text}` {listed}, and the operation cannot take these.", ""
    if len(shown) > 1:
        return f"On this line {_listed(shown)}, and an operation cannot take these.", ""
    return "An operation on this line cannot take what it is given.", ""


def _calls_torch(frame: FrameType, error: BaseException) -> bool:
    """Whether the words are those of an operation of torch's, such as `matmul(): argument ...`."""
    return bool(
        re.match(r"\w+\(\): argument|Dimension out of range|index \S+ is out of bounds|too many indices", str(error))
    )


def _short(tensor: Tensor) -> str:
    """Its type, and where it lies when that is not the main memory."""
    where = "" if tensor.device.type == "cpu" else f" on {tensor.device}"
    return str(tensor.dtype).removeprefix("torch.") + where


def _listed(shown: dict[str, Tensor]) -> str:
    return " and ".join(f"`{name}` is {tuple(t.shape)} {_short(t)}" for name, t in shown.items())


def _tensors_on_line(frame: FrameType, number: int) -> dict[str, Tensor]:
    """The tensors that a line of code names: variables, and parameters and buffers of the module."""
    line = linecache.getline(frame.f_code.co_filename, number).partition("#")[0]
    found: dict[str, Tensor] = {}
    for name in re.findall(r"[A-Za-z_][\w.]*", line):
        first, _, rest = name.partition(".")
        value = frame.f_locals.get(first)
        if isinstance(value, Tensor):
            found.setdefault(first, value)
        elif isinstance(value, nn.Module) and rest:
            owned = {**value._parameters, **value._buffers, **vars(value)}.get(rest.partition(".")[0])
            if isinstance(owned, Tensor):
                found.setdefault(f"{first}.{rest.partition('.')[0]}", owned)
    return dict(list(found.items())[:MOST_SHOWN])


def _arguments(frame: FrameType) -> list[Any]:
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames[:count]
    varied = code.co_varnames[count : count + bool(code.co_flags & inspect.CO_VARARGS)]
    values = [frame.f_locals[name] for name in (*names, *varied) if name in frame.f_locals]
    return [value for value in values if not isinstance(value, nn.Module)]


def _pair(frame: FrameType) -> tuple[Any, Any]:
    """The two arguments that a loss compares."""
    names = [name for name in frame.f_code.co_varnames[: frame.f_code.co_argcount] if name != "self"]
    first, second, *_ = [*(frame.f_locals.get(name) for name in names), None, None]
    return first, second


def _name(value: Any, user: FrameType | None, default: str) -> str:
    """What the user's code calls a value."""
    if user is None or value is None:
        return default
    return next((name for name, each in user.f_locals.items() if each is value and name.isidentifier()), default)


def _path(roots: tuple[nn.Module, ...], part: nn.Module | None) -> str:
    """The name of a part in the outermost module that holds it."""
    for root in dict.fromkeys(roots):
        for name, each in root.named_modules():
            if each is part:
                return str(name)
    return ""
