"""Learning-rate schedules: what they are set to, and when they are moved on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stethoscope.facts.training import Schedule
from stethoscope.observe.training.sites import Spot, site_of

MOST_SCHEDULES = 16
FIRST_CALLS = 8
NO_SETTINGS = ("last_epoch", "verbose")
"""Plain attributes that are a schedule's state, like those that begin with `_`."""


@dataclass(eq=False)
class ScheduleEntry:
    """A schedule while the run goes on; becomes a `facts.training.Schedule`."""

    kind: str
    settings: dict[str, float | str | bool]
    place: Spot | None = None
    calls: int = 0
    first_calls: list[int] = field(default_factory=list)
    last_call: int = -1

    def fact(self) -> Schedule:
        """The frozen form."""
        return Schedule(
            kind=self.kind,
            site=site_of(self.place),
            settings=self.settings,
            calls=self.calls,
            first_calls=tuple(self.first_calls),
            last_call=self.last_call,
        )


class ScheduleBook:
    """All schedules that were stepped, by identity; one that takes the place of a dead one shares its entry."""

    def __init__(self) -> None:
        self._entries: dict[int | str, ScheduleEntry] = {}

    def stepped(self, scheduler: Any, steps: int) -> bool:
        """Count a call; True at the first one of a schedule."""
        entry = self._entries.get(id(scheduler))
        is_new = entry is None
        if entry is None:
            if len(self._entries) >= MOST_SCHEDULES:
                return False
            entry = self._entries[id(scheduler)] = ScheduleEntry(type(scheduler).__name__, settings_of(scheduler))
        entry.calls += 1
        entry.last_call = steps
        if entry.calls <= FIRST_CALLS:
            entry.first_calls.append(steps)
        return is_new

    def made(self, kind: str, place: Spot | None) -> None:
        """Note a schedule that a framework moves on by itself, such as one of Keras's callbacks."""
        if len(self._entries) < MOST_SCHEDULES:
            self._entries.setdefault(kind, ScheduleEntry(kind, {}, place))

    def called_from(self, scheduler: Any, place: Spot | None) -> None:
        """Note the line that stepped it."""
        entry = self._entries.get(id(scheduler))
        if entry is not None:
            entry.place = place

    def facts(self) -> tuple[Schedule, ...]:
        """The frozen forms, in order of the first calls."""
        return tuple(entry.fact() for entry in self._entries.values())


def settings_of(scheduler: Any) -> dict[str, float | str | bool]:
    """The plain settings of a schedule; milestones as one text."""
    settings: dict[str, float | str | bool] = {}
    for key, value in vars(scheduler).items():
        if key.startswith("_") or key in NO_SETTINGS:
            continue
        if isinstance(value, bool | int | float | str):
            settings[key] = value
        elif key == "milestones" and isinstance(value, Mapping | list | tuple):
            settings[key] = ", ".join(str(each) for each in value)
    return settings
