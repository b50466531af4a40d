"""What fits where a layer fails on what it is given beside its input: a mask, a state, too few values."""

from __future__ import annotations

import inspect
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.observe.preflight.remedies import Remedy, expected_of

PADDING_MASKS = ("key_padding_mask", "src_key_padding_mask", "tgt_key_padding_mask", "memory_key_padding_mask")
MASKS = ("attn_mask", "mask", "src_mask", "tgt_mask", "memory_mask")


def of_beside(part: nn.Module, called: FrameType | None, name: str, message: str) -> Remedy:
    """For a layer of torch's; empty where its input is what it fails on, or nothing is known.

    Args:
        part: the layer.
        called: the frame of torch's that called it, which has its arguments as they were given.
        name: of the input in the user's code.
        message: of the exception.
    """
    given = _arguments(part, called)
    if "more than 1 value per channel" in message:
        return _of_one_sample(given)
    if "more than 1 spatial element" in message:
        why = "It normalizes each channel of a sample over its positions, and one is left: nothing would remain."
        return Remedy("more than one position", why)
    if (first := _first(called)) is not None and not isinstance(first, Tensor | nn.utils.rnn.PackedSequence):
        return _of_no_tensor(part, first, name)
    if isinstance(part, nn.RNNBase | nn.RNNCellBase):
        return _of_state(part, given, name)
    for word in (*PADDING_MASKS, *MASKS):
        if isinstance(mask := given.get(word), Tensor) and "only bool and floating types" in message:
            return _of_whole_numbers(word, mask)
    if isinstance(part, nn.MultiheadAttention):
        return _of_masks(part, given)
    return Remedy()


def _arguments(part: nn.Module, called: FrameType | None) -> dict[str, Any]:
    """What a layer was called with, by the names of its parameters."""
    if called is None:
        return {}
    try:
        bound = inspect.signature(part.forward).bind(*called.f_locals["args"], **called.f_locals["kwargs"])
    except TypeError:
        return {}
    return dict(bound.arguments)


def _first(called: FrameType | None) -> Any:
    args = called.f_locals["args"] if called is not None else ()
    return args[0] if args else None


def _of_no_tensor(part: nn.Module, first: Any, name: str) -> Remedy:
    """For what was given something else than a tensor: an array, numbers, or all that a recurrent layer returns."""
    expected, weight = expected_of(part), next(part.parameters(recurse=False), None)
    kind = f"{type(first).__module__}.{type(first).__name__}".removeprefix("builtins.")
    if isinstance(first, tuple) and any(isinstance(each, Tensor) for each in first):
        why = f"It is given a tuple of {len(first)}: recurrent and attention layers return more than their output."
        return Remedy(expected, why, f"{name}, *_ = ...  # what makes it: the first is the output")
    dtype = torch.long if isinstance(part, nn.Embedding) else weight.dtype if weight is not None else None
    if dtype is None or not hasattr(first, "__len__") or isinstance(first, dict | str):
        return Remedy()
    try:
        torch.as_tensor(first, dtype=dtype)
    except (ValueError, TypeError, RuntimeError):
        return Remedy()
    return Remedy(expected, f"It is given a `{kind}`.", f"{name} = torch.as_tensor({name}, dtype={dtype})")


def _of_one_sample(given: dict[str, Any]) -> Remedy:
    first = next((value for value in given.values() if isinstance(value, Tensor)), None)
    fix = "DataLoader(..., drop_last=True)  # in training: a last batch of one is left out\n"
    fix += "model.eval()  # before a single sample is asked for"
    return Remedy(
        "more than one value a channel",
        "In train mode it normalizes by the batch, and the batch is a single sample.",
        fix if first is not None and first.shape[0] == 1 else "",
    )


def _of_whole_numbers(word: str, mask: Tensor) -> Remedy:
    kind = str(mask.dtype).removeprefix("torch.")
    return Remedy(
        f"`{word}` of bool, true where it hides",
        f"`{word}` is {tuple(mask.shape)} {kind}.",
        f"{word} = {word} == 0  # where 1 stands for a word\n{word} = {word}.bool()  # where 1 stands for padding",
    )


# Attention


def _of_masks(part: nn.MultiheadAttention, given: dict[str, Any]) -> Remedy:
    query, key = given.get("query"), given.get("key")
    if not isinstance(query, Tensor) or not isinstance(key, Tensor) or query.dim() != 3 or key.dim() != 3:
        return Remedy()
    if query.shape[-1] != part.embed_dim or key.shape[-1] != part.kdim:
        return Remedy()
    samples, targets, sources = _axes(query, key, batch_first=part.batch_first)
    turned = _axes(query, key, batch_first=not part.batch_first)
    padding, mask = given.get("key_padding_mask"), given.get("attn_mask")
    if isinstance(padding, Tensor) and tuple(padding.shape) != (samples, sources):
        return _of_padding(part, padding, (samples, sources), (turned[0], turned[2]))
    if isinstance(mask, Tensor):
        return _of_attention_mask(part, mask, (samples, targets, sources), turned)
    return Remedy()


def _axes(query: Tensor, key: Tensor, *, batch_first: bool) -> tuple[int, int, int]:
    """Samples, positions that ask, and positions that are asked."""
    time = 1 if batch_first else 0
    return query.shape[1 - time], query.shape[time], key.shape[time]


def _turned(part: nn.MultiheadAttention) -> str:
    return f"batch_first={not part.batch_first}  # of the layer: its inputs are {_order(not part.batch_first)}"


def _order(batch_first: bool) -> str:
    return "(samples, positions, features)" if batch_first else "(positions, samples, features)"


def _of_padding(
    part: nn.MultiheadAttention, mask: Tensor, fits: tuple[int, int], fits_turned: tuple[int, int]
) -> Remedy:
    shape = tuple(mask.shape)
    expected = f"`key_padding_mask` {fits}: samples, positions"
    why = f"`key_padding_mask` is {shape}."
    if shape == fits_turned and not part.batch_first:
        why += f" The layer reads its inputs as {_order(False)}, and this mask as samples by positions."
        return Remedy(expected, why, _turned(part))
    if shape == fits[::-1]:
        return Remedy(expected, why, "key_padding_mask=mask.T")
    if shape[:1] == fits[:1] and mask.dim() > 2 and mask.numel() == fits[0] * fits[1]:
        return Remedy(expected, why, f"key_padding_mask=mask.reshape{fits}")
    return Remedy(expected, why)


def _of_attention_mask(
    part: nn.MultiheadAttention, mask: Tensor, axes: tuple[int, int, int], turned: tuple[int, int, int]
) -> Remedy:
    samples, targets, sources = axes
    shape, pairs = tuple(mask.shape), (targets, sources)
    each = (samples * part.num_heads, *pairs)
    if shape in (pairs, each):
        return Remedy()
    expected = f"`attn_mask` {pairs}, or {each} for each sample and head"
    why = f"`attn_mask` is {shape}."
    if shape == (samples, *pairs):
        return Remedy(expected, why, f"attn_mask=mask.repeat_interleave({part.num_heads}, 0)  # one for each head")
    if shape == (samples, sources):
        fix = "key_padding_mask=mask  # in place of attn_mask"
        return Remedy(expected, f"{why} That is a mask of the padding: one row for each sample.", fix)
    if shape == turned[1:] and shape != pairs:
        return Remedy(expected, f"{why} The layer reads its inputs as {_order(part.batch_first)}.", _turned(part))
    return Remedy(expected, why)


# Recurrent layers


def _of_state(part: nn.RNNBase | nn.RNNCellBase, given: dict[str, Any], name: str) -> Remedy:
    first, state = given.get("input"), given.get("hx")
    states = state if isinstance(state, tuple) else (state,)
    if not isinstance(first, Tensor) or not all(isinstance(each, Tensor) for each in states):
        return Remedy()
    if first.dim() < 2 or first.shape[-1] != part.input_size:
        return Remedy()
    axis, shapes = 0, list[tuple[int, ...]]()
    if isinstance(part, nn.RNNCellBase):
        axis, shapes = 0, [(first.shape[0], part.hidden_size)] * len(states)
    elif first.dim() == 3:
        axis = 0 if part.batch_first else 1
        layers = part.num_layers * (2 if part.bidirectional else 1)
        widths = (part.proj_size or part.hidden_size, part.hidden_size)
        shapes = [(layers, first.shape[axis], width) for width, _ in zip(widths, states, strict=False)]
    else:
        return Remedy()
    wrong = [(each, shape) for each, shape in zip(states, shapes, strict=False) if tuple(each.shape) != shape]
    if not wrong:
        return Remedy()
    is_tuple, (each, shape) = len(states) > 1, wrong[0]
    expected = (
        f"{'states' if is_tuple else 'a state'} {shape}: {'layers, ' if len(shape) == 3 else ''}samples, features"
    )
    samples = shape[-2]
    why = f"The state is {tuple(each.shape)}, and the batch has {samples} samples."
    if each.dim() == len(shape) and each.shape[-2] != samples:
        why += " A state that is made once fits no smaller batch, such as the last one."
    made = [f"torch.zeros({', '.join(_sizes(one, f'{name}.shape[{axis}]'))})" for one in shapes]
    return Remedy(expected, why, f"state = ({', '.join(made)})" if is_tuple else f"state = {made[0]}")


def _sizes(shape: tuple[int, ...], samples: str) -> list[str]:
    """A shape as it is written, whose samples are those of the input."""
    return [samples if place == len(shape) - 2 else str(size) for place, size in enumerate(shape)]
