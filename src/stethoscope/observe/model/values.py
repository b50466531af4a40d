"""Nested values with tensors in them, as plain JSON beside named tensors, and back. Nothing is ever executed.

(images, {"mask": None})     {"tuple": [{"tensor": "value/0"}, {"dict": [["mask", null]]}]}
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class CannotKeep(Exception):
    """What was captured cannot be written down; the message is a clause that says why."""


class Packer:
    """Turns values into JSON, and collects their tensors.

    Args:
        device: where the model is; what lies there goes with it, wherever it is made again.
    """

    def __init__(self, device: torch.device) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._device = device

    def pack(self, value: Any) -> Any:
        """The value as plain JSON. Raises CannotKeep for what has no such form."""
        if isinstance(value, Tensor):
            name = f"value/{len(self.tensors)}"
            self.tensors[name] = value
            return {"tensor": name, "beside model": value.device == self._device}
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": str(value)}
        if type(value) is tuple:
            return {"tuple": [self.pack(part) for part in value]}
        if type(value) is list:
            return [self.pack(part) for part in value]
        if type(value) is dict:
            return {"dict": [[self.pack(key), self.pack(part)] for key, part in value.items()]}
        if isinstance(value, torch.dtype | torch.device):
            return {type(value).__name__: str(value).removeprefix("torch.")}
        if isinstance(value, slice):
            return {"slice": [self.pack(part) for part in (value.start, value.stop, value.step)]}
        raise CannotKeep(f"a `{type(value).__name__}` is among what was captured")


def unpacked(data: Any, tensors: dict[str, Tensor], device: torch.device) -> Any:
    """The value that a packer made `data` from. Raises ValueError or KeyError for anything else."""
    if isinstance(data, list):
        return [unpacked(part, tensors, device) for part in data]
    if not isinstance(data, dict):
        return data
    if "tensor" in data:
        return tensors[data["tensor"]].to(device if data["beside model"] else "cpu")
    ((kind, content),) = data.items()
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple(unpacked(part, tensors, device) for part in content)
    if kind == "dict":
        return {unpacked(key, tensors, device): unpacked(part, tensors, device) for key, part in content}
    if kind == "device":
        return torch.device(content)
    if kind == "slice":
        return slice(*(unpacked(part, tensors, device) for part in content))
    if kind == "dtype" and isinstance(found := getattr(torch, content), torch.dtype):
        return found
    raise ValueError(f"{kind} is no kind of value")
