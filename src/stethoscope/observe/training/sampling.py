"""Takes a few honest values of a tensor without reading the rest.

A plain stride of n // cap aliases with rows and channels: the spread is off by a third and most channels are
never seen. A stride coprime with the number of elements is as good as drawing at random, and draws no
random number.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.dlpack import to_dlpack

Array = NDArray[Any]
_AS_THEY_ARE = frozenset((torch.float32, torch.float64, torch.int64, torch.int32))
"""Types whose values numpy reads where they lie."""


@lru_cache(maxsize=4096)
def coprime_stride(count: int, cap: int) -> int:
    """The smallest stride, coprime with `count`, that takes at most `cap` of `count` values."""
    if count <= cap:
        return 1
    stride = -(-count // cap)
    while gcd(stride, count) != 1:
        stride += 1
    return stride


def lies_here(tensor: Any) -> Any:
    """The part of a tensor whose values lie in this process's memory; None where there is no such part.

    A tensor that is spread over processes has its own shard here, and reading anything else of it would wait for the
    other processes. Other wrappers of tensors hold no memory, and their address means nothing.
    """
    kind = type(tensor)
    if kind is torch.Tensor or kind is torch.nn.Parameter:
        return tensor
    local = getattr(tensor, "_local_tensor", None)
    if type(local) is torch.Tensor:
        return local
    return None if hasattr(kind, "__tensor_flatten__") else tensor


def as_array(tensor: Any) -> Array:
    """A CPU tensor's values as a numpy array that shares its memory; empty when the memory was given back.

    Through DLPack: `Tensor.numpy()` would forbid the user to resize the tensor's storage from then on.
    """
    tensor = lies_here(tensor)
    if tensor is None or not tensor.data_ptr():
        return np.zeros(0, np.float32)
    array: Array = np.from_dlpack(_Exported(tensor.detach()))
    return array


class _Exported:
    """Hands a CPU tensor to numpy; torch's own `__dlpack__` does the same in twice the time."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    def __dlpack__(self, **_: Any) -> Any:
        return to_dlpack(self._tensor)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


def sampled(tensor: Any, cap: int) -> Array:
    """At most `cap` values of a torch tensor as a 1-D numpy array; a view of it where that is possible.

    The tensor is any dense CPU tensor; bfloat16 and float16 come back as float32. Other devices copy only the
    sampled values.
    """
    tensor = lies_here(tensor)
    if tensor is None or not tensor.data_ptr():
        return np.zeros(0, np.float32)
    stride = coprime_stride(tensor.numel(), cap)
    if tensor.is_cpu and tensor.dtype in _AS_THEY_ARE:
        values = np.from_dlpack(_Exported(tensor))  # asks for no copy, and leaves the graph alone
        flat = values.reshape(-1) if values.flags.c_contiguous else values.ravel(order="K")
        return flat[::stride]
    few = tensor.detach().reshape(-1)[::stride]
    if few.is_complex():
        few = few.abs()
    few = few.float() if few.is_floating_point() else few
    return as_array(few.cpu())


def sampled_rows(tensor: Any, cap: int) -> Array:
    """Whole rows of an activation for questions about units: (rows, units), at most about `cap` values.

    Units are the last axis of an output with two or three axes (batch, [positions,] features) and axis 1 of one
    with more (batch, channels, height, width); every other axis gives rows.
    """
    values = lies_here(tensor)
    if values is None:
        return np.zeros((0, 0), np.float32)
    values = values.detach()
    if values.dim() > 3:
        values = values.movedim(1, -1)
    units = values.shape[-1]
    wanted = max(1, cap // max(1, units))
    if values.dim() > 2:
        values = values.flatten(0, -2) if values.is_contiguous() else _thin(values, wanted)
    stride = coprime_stride(values.shape[0], wanted)
    few = values[::stride]
    if few.dtype.itemsize < 4:
        few = few.float()
    return as_array(few.cpu())


def _thin(values: Any, wanted: int) -> Any:
    """Fewer positions of a non-contiguous (batch, ..., units) tensor, before it must be copied to be flattened."""
    batch = values.shape[0]
    positions = max(1, int(np.prod(values.shape[1:-1])))
    stride = max(1, int((batch * positions / (4 * wanted)) ** (1 / (values.dim() - 1))))
    index = tuple(slice(None, None, coprime_stride(size, max(1, size // stride))) for size in values.shape[:-1])
    return values[index].flatten(0, -2)
