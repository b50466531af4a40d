"""Parameters that two optimizers move by one and the same gradient."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Overlap:
    """Two optimizers that hold the same parameters, and whether both stepped on one gradient of theirs.

    It is one gradient when no backward pass has renewed it between the two steps, and nothing has cleared it. Steps
    that an optimizer takes within a step of another one, as wrappers do, are left out.
    """

    first: int
    """Index into `History.optimizers` of the one that stepped before the other."""
    second: int
    """Index of the one that stepped on the same gradient again."""
    name: str = ""
    """Of the first parameter that both hold."""
    tensors: int = 0
    values: int = 0
    """Of all the parameters with a gradient that both hold."""
    watched: int = 0
    """Steps of the second one that were watched, after a watched step of the first one."""
    repeated: int = 0
    """Those of them that used a gradient which the first one had used before."""
