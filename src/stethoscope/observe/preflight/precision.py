"""Whether what is computed in double precision stays in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stethoscope.observe.model.ingredients import tensors_in

CASTS = ("_to_copy", "copy_")
"""Operations of torch's that only change the precision of numbers; others compute in the one of what they return."""


class Precision(TorchDispatchMode):  # type: ignore[misc]
    """Inside of it, operations are noticed that take digits off numbers of double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.is_lost = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called for each operation."""
        result = func(*args, **(kwargs or {}))
        if not self.is_lost:
            name = func.overloadpacket.__name__
            if name in CASTS:
                self.is_lost = _loses(args[1] if name == "copy_" else args[0], result)
            else:
                given = any(isinstance(arg, Tensor) and arg.dtype == torch.float64 for arg in args)
                self.is_lost = given and any(_is_short(made) for _, made in tensors_in(result))
        return result


def _is_short(made: Tensor) -> bool:
    return bool(made.is_floating_point() and made.dtype != torch.float64)


def _loses(given: Any, made: Any) -> bool:
    if not isinstance(given, Tensor) or not isinstance(made, Tensor) or given.dtype != torch.float64:
        return False
    return _is_short(made) and given.shape == made.shape and not torch.equal(made.double(), given)
