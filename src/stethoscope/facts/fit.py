"""What Keras was asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from stethoscope.facts.code import Site


@dataclass(frozen=True)
class FitCall:
    """One call of Keras's `fit`, with what the model was compiled with."""

    site: Site | None = None
    compile_site: Site | None = None
    loss: str = ""
    """As given to `compile`: a name, or that of the class or function."""
    metrics: tuple[str, ...] = ()
    callbacks: tuple[str, ...] = ()
    """Class names."""
    epochs: int = 1
    batch_size: int = 32
    shuffle: bool = True
    validates: bool = False
    """Whether validation data was given or split off."""
    weighted: bool = False
    """Whether classes or samples have weights."""
