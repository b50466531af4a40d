"""Whether what is computed in double precision stays in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

CASTS = ("_to_copy", "copy_")
"""Operations of torch's by which numbers change their precision."""


class Precision(TorchDispatchMode):  # type: ignore[misc]
    """Inside of it, casts are noticed that take digits off numbers of double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.is_lost = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called for each operation."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in CASTS and not self.is_lost:
            self.is_lost = _loses(args[1] if name == "copy_" else args[0], result)
        return result


def _loses(given: Any, made: Any) -> bool:
    if not isinstance(given, Tensor) or not isinstance(made, Tensor) or given.dtype != torch.float64:
        return False
    if not made.is_floating_point() or made.dtype == torch.float64 or given.shape != made.shape:
        return False
    return not torch.equal(made.double(), given)
