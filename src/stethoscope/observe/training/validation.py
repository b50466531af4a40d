"""Forward passes that train nothing: validation passes, told apart from one-off passes such as a generator's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from stethoscope.facts.training import ValidationPass
from stethoscope.observe.training.losses import LossEntry
from stethoscope.observe.training.sites import Spot, site_of

MOST_PASSES = 400
FORWARDS_LOOKED_AT = 64
"""Forwards of a pass whose inputs are told apart by a checksum."""
ACCURACY_CALLS = 8
"""Loss calls of a pass from which accuracy is computed."""


@dataclass(eq=False)
class PassEntry:
    """A pass while it goes on; becomes a `facts.training.ValidationPass`."""

    step: int
    model: int
    place: Spot | None
    forwards: int = 0
    in_train_mode: int = 0
    samples: int = 0
    inputs: set[int] = field(default_factory=set)
    loss_calls: int = 0
    loss_counted: int = 0
    """Calls whose value was read: all on the CPU, the first few elsewhere."""
    loss_sum: float = 0.0
    right: int = 0
    judged: int = 0
    loss_entry: LossEntry | None = None
    on_curve: bool = True
    """Whether its loss is a point of the validation curve."""
    with_gradients: bool = False
    """Gradients are on, the model is in eval mode: a pass unless a backward pass follows."""
    graphs: int = 0
    differentiated: bool = False
    source: int = -1
    """Number of the data set that its first batch came from."""
    undo: list[Callable[[], None]] = field(default_factory=list)
    """What takes back the training calls that were noted before it was known for a pass."""

    def fact(self) -> ValidationPass:
        """The frozen form."""
        return ValidationPass(
            self.step, self.forwards, self.in_train_mode, self.model, site_of(self.place), len(self.inputs),
            self.loss_calls, self.samples, self.graphs, self.differentiated,
        )  # fmt: skip


class PassBook:
    """All passes; of single forwards, which some loops make at every step, only the first are kept."""

    def __init__(self) -> None:
        self.current: PassEntry | None = None
        self._long: list[PassEntry] = []
        self._single: list[PassEntry] = []

    def begin(self, step: int, model: int, place: Spot | None) -> PassEntry:
        """A new pass."""
        self.current = PassEntry(step, model, place)
        return self.current

    def drop(self) -> None:
        """The forwards of the pass that is under way trained the model: it is none."""
        self.current = None

    def end(self) -> PassEntry | None:
        """The pass that just ended, if one was under way."""
        ended, self.current = self.current, None
        if ended is not None:
            kept = self._long if ended.forwards > 1 or ended.loss_calls else self._single
            if len(kept) >= MOST_PASSES:
                del kept[MOST_PASSES // 2 :: 2]
            kept.append(ended)
        return ended

    def facts(self) -> tuple[ValidationPass, ...]:
        """The frozen forms, by step."""
        passes = self._long + self._single + ([self.current] if self.current else [])
        return tuple(p.fact() for p in sorted(passes, key=lambda p: p.step))
