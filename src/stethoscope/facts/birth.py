"""Where a value stopped being a finite number."""

from __future__ import annotations

from dataclasses import dataclass

from stethoscope.facts.code import Site


@dataclass(frozen=True)
class Birth:
    """Where the first value that is no number, or infinite, came from."""

    step: int
    where: str
    """`input`, `parameter`, `forward`, `backward` or `loss` (seen, but its origin could not be read)."""
    operation: str = ""
    """The operation, such as `log`, `div`, `sqrt`, `exp`; empty when unknown."""
    module: str = ""
    site: Site | None = None
    detail: str = ""
    """What its operands were, such as `3 of 64 values were 0`."""
    certain: bool = False
    """Whether operation and operands were read off the very graph that made it."""
    largest_weight: float = float("nan")
    """Largest absolute value among the sampled weights at that step."""
    rows: tuple[int, ...] = ()
    """The first rows of the batch at which it happened, at most 8; empty where rows and operands do not correspond."""
    number_type: str = ""
    """Type of the operands, such as `float16`; empty when unknown."""
