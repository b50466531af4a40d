"""Forward passes without gradients: validation passes, told apart from one-off passes such as a generator's."""

from __future__ import annotations

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

    def fact(self) -> ValidationPass:
        """The frozen form."""
        return ValidationPass(
            self.step, self.forwards, self.in_train_mode, self.model, site_of(self.place), len(self.inputs),
            self.loss_calls, self.samples,
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
