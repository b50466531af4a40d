"""What a script measures by itself: what it compares by `==`, and what it gives to a library's measure."""

from __future__ import annotations

from dataclasses import dataclass

from stethoscope.facts.code import Site


@dataclass(frozen=True)
class Comparison:
    """An `==` at one line of the user's that does not set each sample's answer beside that sample's target."""

    kind: str
    """`pairs`: answers and targets were stretched against each other, so that each meets all. `axis`: the answers are
    the largest scores along an axis other than the classes', or of the whole batch."""
    site: Site | None = None
    reduced_at: Site | None = None
    """Where the largest scores were taken; for `axis`."""
    axis: int = -1
    """Along which they were taken; -1 for the whole batch, and for `pairs`."""
    output_shape: tuple[int, ...] = ()
    """Of the model's last answer, as the following three at the last time."""
    left: tuple[int, ...] = ()
    right: tuple[int, ...] = ()
    result: tuple[int, ...] = ()
    times: int = 0
    """Times seen; in training only some steps are watched."""
    rows: int = 0
    """Samples of all of these times."""
    first_step: int = 0
    last_step: int = 0
    told: float = float("nan")
    """Share (0..1) that was equal, as the script compared them, over all times."""
    meant: float = float("nan")
    """Share of answers equal to the target of the same sample; NaN where that could not be told."""


@dataclass(frozen=True)
class Measure:
    """A measure of torchmetrics or scikit-learn at one line of the user's."""

    kind: str
    """`not reset`: a metric that gathers, read after each validation pass; see `passes`. `swapped`: the model's answers
    stand where the targets belong, in a function for which that makes a difference."""
    name: str = ""
    """Class of the metric, or name of the function."""
    site: Site | None = None
    times: int = 0
    """Times seen; for `not reset` the passes since it was last empty."""
    rows: int = 0
    """Samples: of the last pass, or of all times."""
    first_step: int = 0
    last_step: int = 0
    told: float = float("nan")
    """What it gives at the last time; NaN where that is not worked out."""
    meant: float = float("nan")
    """What it gives with its sides in their places."""
    passes: tuple[tuple[int, int], ...] = ()
    """For `not reset`, of the last three passes: forward passes in it, and updates that the metric then holds."""
