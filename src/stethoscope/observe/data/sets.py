"""A data set on its way from its rows to facts: profile, sample, repeated rows, and what it shares with another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stethoscope.facts.data import DataSet, Overlap, Profile
from stethoscope.observe.data.merging import onto
from stethoscope.observe.data.profiling import profile, sampled
from stethoscope.observe.data.repeats import Keyed, keyed, overlap_of, repeats_of
from stethoscope.observe.data.tables import Table


@dataclass(frozen=True)
class Opened:
    """A data set before it is counted: its rows, or a saved profile that stands in for them."""

    name: str
    table: Table | None = None
    profile: Profile | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        if self.table is not None:
            return [field.name for field in self.table.fields()]
        return [column.name for column in self.profile.columns] if self.profile else []


@dataclass(frozen=True)
class Counted:
    """A data set that was counted."""

    opened: Opened
    facts: DataSet
    keys: Keyed | None = None


def count(opened: Opened, like: Profile | None, target: str, without: Sequence[str], most: int) -> Counted:
    """Profile, sample and repeated rows; of a saved profile nothing but itself.

    Args:
        opened: the data set.
        like: the profile that it is compared with.
        target: the column that is not an input; empty when there is none.
        without: columns that count for nothing when rows are compared.
        most: rows to sample.
    """
    if opened.table is None:
        stored = opened.profile or Profile()
        return Counted(opened, DataSet(opened.name, stored if like is None else onto(stored, like)))
    made = profile(opened.table, like)
    keys = keyed(opened.table, target, without)
    facts = DataSet(opened.name, made, sampled(opened.table, made, most), repeats_of(opened.table, keys))
    return Counted(opened, facts, keys)


def shared(one: Counted, two: Counted, target: str, without: Sequence[str]) -> Overlap | None:
    """Rows of the second set that are in the first; None where one of them is a profile, or they do not compare."""
    if one.opened.table is None or two.opened.table is None:
        return None
    profiles = one.facts.profile, two.facts.profile
    return overlap_of(one.opened.table, two.opened.table, profiles, (one.keys, two.keys), target, without)
