"""What fits where no single layer of torch's failed: an operation on a line, memory, a library's model, a batch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import product
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stethoscope.core.text import amount, byte_size
from stethoscope.observe.preflight.remedies import Remedy

if TYPE_CHECKING:
    from stethoscope.observe.training.models import LayerEntry, ModelBook

NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")
_BYTES = re.compile(r"allocate (\d+) bytes|[Tt]ried to allocate ([\d.]+) ([KMG])iB")
_UNEQUAL = re.compile(
    r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\) at non-singleton dim\w* (\d+)"
)
_JOINED = re.compile(r"Sizes of tensors must match except in dimension (\d+)")
_STACKED = re.compile(r"equal size, but got \[([\d, ]*)\] at entry (\d+) and \[([\d, ]*)\] at entry (\d+)")
_FOUND = re.compile(r"default_collate: batch must contain .*found <class '([\w.]+)'>")
_RESIZED = "resize storage that is not resizable"
"""What a worker process says of samples that differ: it stacks them in shared memory."""
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")


def of_memory(message: str, given: Sequence[Tensor]) -> Remedy:
    """For what asks for more memory than there is."""
    found = _BYTES.search(message)
    wanted = 0.0
    if found is not None:
        wanted = float(found[1] or 0) or float(found[2]) * 1024.0 ** (1 + "KMG".index(found[3]))
    rows = next((int(t.shape[0]) for t in given if t.dim() > 1), 0)
    asks = f"It asks for {byte_size(wanted)} at once" if wanted else "The memory is too small"
    why = (
        f"{asks}, for a batch of {amount(rows, 'sample')}." if rows else f"{asks}{'' if wanted else ' for this batch'}."
    )
    return Remedy("", why, f"batch_size={rows // 2}  # or less" if rows > 1 else "")


def of_line(named: dict[str, Tensor], message: str) -> Remedy:
    """For an operation on a line that names these tensors; empty where nothing is known to fit."""
    if (unequal := _UNEQUAL.search(message)) is not None:
        return _of_unequal(named, *map(int, unequal.groups()))
    if (joined := _JOINED.search(message)) is not None:
        return _of_joined(named, int(joined[1]))
    if "shapes cannot be multiplied" in message and len(named) == 2:
        (_, first), (name, second) = named.items()
        if second.dim() == 2 and first.dim() and first.shape[-1] == second.shape[1] != second.shape[0]:
            return Remedy("", f"`{name}` is the wrong way round.", f"{name}.T  # in its place")
    return Remedy()


def _of_unequal(named: dict[str, Tensor], left: int, right: int, axis: int) -> Remedy:
    """A value, and a tensor that the module owns, that differ along one axis; a longer one is cut."""
    owned = [(name, tensor) for name, tensor in named.items() if name.startswith("self.")]
    others = [(name, tensor) for name, tensor in named.items() if not name.startswith("self.")]
    for (name, one), (own, other) in product(others, owned):
        at, at_own = (axis + tensor.dim() - max(one.dim(), other.dim()) for tensor in (one, other))
        if min(at, at_own) < 0 or {one.shape[at], other.shape[at_own]} != {left, right}:
            continue
        there, here = one.shape[at], other.shape[at_own]
        why = f"Axis {at} of `{name}` has {there} entries, and axis {at_own} of `{own}` has {here}."
        cut = f"{own}[{':, ' * at_own}: {name}.shape[{at}]]  # in place of {own}"
        is_longer = here > there and _fits(one, other.narrow(at_own, 0, there))
        return Remedy("", why, cut if is_longer else "")
    return Remedy()


def _fits(one: Tensor, other: Tensor) -> bool:
    try:
        torch.broadcast_shapes(one.shape, other.shape)
    except RuntimeError:
        return False
    return True


def _of_joined(named: dict[str, Tensor], axis: int) -> Remedy:
    """Tensors to be joined along an axis, that differ along another: pictures of other heights and widths."""
    if len(named) != 2:
        return Remedy()
    (first, a), (second, b) = named.items()
    if a.dim() != b.dim() or a.dim() not in (3, 4, 5) or axis != 1 or a.shape[0] != b.shape[0]:
        return Remedy()
    if not (a.is_floating_point() and b.is_floating_point()) or a.shape[2:] == b.shape[2:]:
        return Remedy()
    larger, smaller = (first, second) if math.prod(a.shape[2:]) >= math.prod(b.shape[2:]) else (second, first)
    why = f"They are joined along axis 1, and differ along others: {tuple(a.shape[2:])} and {tuple(b.shape[2:])}."
    return Remedy("", why, f"{smaller} = nn.functional.interpolate({smaller}, size={larger}.shape[2:])")


def of_library(roots: Iterable[nn.Module], part: nn.Module | None, given: Sequence[Tensor]) -> Remedy:
    """For a model of a library's that knows its own sizes: too long a text, a word that it has no row for."""
    numbers = [t for t in given if not t.is_floating_point() and not t.is_complex() and t.dim() and t.numel()]
    for root in roots:
        config = getattr(root, "config", None)
        name = next((name for name in _POSITIONS if isinstance(getattr(config, name, None), int)), "")
        most = getattr(config, name) if name else 0
        length = max((int(t.shape[-1]) for t in numbers), default=0)
        if 0 < most < length:
            return Remedy(
                f"texts of {most} tokens at most",
                f"The texts have {length} tokens, and the model has {most} positions (`{name}` of its configuration).",
                f"tokenizer(texts, truncation=True, max_length={most})",
            )
        words = getattr(root, "get_input_embeddings", None)
        if isinstance(part, nn.Embedding) and callable(words) and hasattr(root, "resize_token_embeddings") and numbers:
            high = int(numbers[0].max()) if not numbers[0].is_meta else -1
            if _is(words, part) and high >= part.num_embeddings:
                return Remedy(
                    f"whole numbers from 0 to {part.num_embeddings - 1}",
                    f"A token has the number {high}, and the model has {part.num_embeddings} words: the tokenizer has "
                    "more of them.",
                    "model.resize_token_embeddings(len(tokenizer))",
                )
    return Remedy()


def _is(words: Any, part: nn.Embedding) -> bool:
    try:
        return words() is part
    except (AttributeError, NotImplementedError):  # a model without words
        return False


def last_before(book: ModelBook | None, part: nn.Module | None, given: Sequence[Tensor]) -> LayerEntry | None:
    """The layer that put out what another was given; None where that is not sure."""
    if book is None or part is None or not given or not given[0].dim():
        return None
    own = book.layer_of(part)
    called = [layer for layer in book.layers if layer.order >= 0 and layer is not own]
    if own is not None and own.order >= 0:
        called = [layer for layer in called if layer.order < own.order]
    last = max(called, key=lambda layer: layer.order, default=None)
    if last is None or not last.output_shape or math.prod(last.output_shape) != given[0].numel():
        return None
    return last if last.output_shape[0] == given[0].shape[0] else None


Shapes = tuple[tuple[int, ...], ...]
ONE_SHAPE = "tensors of one shape"


def of_samples(frames: Sequence[FrameType], message: str) -> tuple[str, Shapes, Remedy] | None:
    """For a loader that cannot make a batch of what its data set gave: the class of that set, and shapes of samples."""
    stacked, found = _STACKED.search(message), _FOUND.search(message)
    is_resized = _RESIZED in message and "collate" in message
    if stacked is None and found is None and not is_resized:
        return None
    if not any(str(frame.f_globals.get("__name__")).startswith("torch.utils.data") for frame in frames):
        return None
    owners = [frame.f_locals.get("self") for frame in reversed(frames)]
    sets = [getattr(owner, name, None) for owner in owners for name in ("dataset", "_dataset")]
    kind = next((type(one).__name__ for one in sets if one is not None), "DataLoader")
    if is_resized:
        return kind, (), Remedy(ONE_SHAPE, "Samples of a batch have different sizes, and cannot be stacked.")
    if stacked is None:
        assert found is not None
        return (
            kind,
            (),
            Remedy("", f"A sample holds a `{found[1]}`, of which no batch can be made: give tensors or numbers."),
        )
    one, other = (tuple(map(int, re.findall(r"\d+", text))) for text in (stacked[1], stacked[3]))
    why = f"Samples {stacked[2]} and {stacked[4]} of a batch are {one} and {other}, and cannot be stacked."
    if one[1:] == other[1:]:
        fix = (
            "def collate(samples):\n"
            "    inputs, targets = zip(*samples)\n"
            "    return nn.utils.rnn.pad_sequence(inputs, batch_first=True), torch.tensor(targets)\n"
            "loader = DataLoader(data, collate_fn=collate)"
        )
        return kind, (one, other), Remedy(ONE_SHAPE, why, fix)
    return kind, (one, other), Remedy(ONE_SHAPE, f"{why} Bring them to one size where a sample is made.")
