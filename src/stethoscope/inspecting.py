"""Inspects data sets. Wires the rooms up, decides nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from stethoscope.core.errors import UsageError
from stethoscope.core.finding import Diagnosis
from stethoscope.core.settings import Settings, read_settings
from stethoscope.diagnose.inspect import inspect
from stethoscope.diagnose.select import read_limits, select
from stethoscope.diagnose.suppress import allowed_in_settings
from stethoscope.facts.data import Data, DataSet, Overlap, Profile

if TYPE_CHECKING:
    from stethoscope.observe.data.repeats import Keyed
    from stethoscope.observe.data.tables import Table


@dataclass(frozen=True)
class Inspection:
    """What came of inspecting data sets."""

    diagnosis: Diagnosis
    data: Data
    took: float = 0.0
    """Seconds."""

    def show(self, stream: TextIO) -> None:
        """Print it."""
        from stethoscope.render.inspection import print_inspection

        print_inspection(self.diagnosis, self.data, stream=stream, took=self.took)


def inspect_data(
    train: Any,
    test: Any = None,
    *,
    target: str | None = None,
    sensitive: Sequence[str] = (),
    predictions: str | None = None,
    settings: Settings | None = None,
) -> Inspection:
    """Check a data set, alone or beside another one, and say what is wrong with it.

    Args:
        train: a path, a frame (pandas, Polars, PyArrow, DuckDB, Dask, PySpark, Ibis), a dict of arrays, an array, a
            torch data set or loader, or a saved profile (`Any`: none of these libraries is needed here).
        test: what it is compared with: test, validation or newer data.
        target: name of the column to be predicted.
        sensitive: columns whose groups are compared.
        predictions: name of the column with a model's predictions.
        settings: limits and allowed rules; those of the nearest `pyproject.toml` when None.

    Raises:
        UsageError: a column that does not exist, or a kind of data that is not known.
        BadFile: a file that cannot be read.
    """
    began = time.perf_counter()
    settings = settings or read_settings(Path.cwd())
    first = _opened(train, "train")
    second = None if test is None else _opened(test, "test")
    for name in (*([target] if target else ()), *sensitive, *([predictions] if predictions else ())):
        _check_column(name, first.columns, first.name)
    without = (predictions,) if predictions else ()
    one = first.looked_at(None, target or "", without)
    two = None if second is None else second.looked_at(one.facts.profile, target or "", without)
    data = Data(
        one.facts,
        None if two is None else two.facts,
        target=target or "",
        task=task_of(one.facts.profile, target) if target else "",
        sensitive=tuple(sensitive),
        predictions=predictions or "",
        overlap=None if two is None else _overlap(one, two, target or "", without),
    )
    diagnosis = inspect(
        data,
        rules=select(settings.only, settings.without),
        overrides=read_limits(settings.limits),
        suppressions=allowed_in_settings(settings.allow),
    )
    return Inspection(diagnosis, data, time.perf_counter() - began)


@dataclass(frozen=True)
class Opened:
    """A data set before it is counted: its rows, or a profile that stands in for them."""

    name: str
    table: Table | None = None
    profile: Profile | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        if self.table is not None:
            return [field.name for field in self.table.fields()]
        return [column.name for column in self.profile.columns] if self.profile else []

    def looked_at(self, like: Profile | None, target: str, without: Sequence[str]) -> Looked:
        """Profile, sample and repeated rows; of a saved profile nothing but itself."""
        from stethoscope.observe.data.merging import onto
        from stethoscope.observe.data.profiling import profile, sampled
        from stethoscope.observe.data.repeats import keyed, repeats_of

        if self.table is None:
            stored = self.profile or Profile()
            return Looked(self, DataSet(self.name, stored if like is None else onto(stored, like)))
        made = profile(self.table, like)
        keys = keyed(self.table, target, without)
        facts = DataSet(self.name, made, sampled(self.table, made, SAMPLED), repeats_of(self.table, keys))
        return Looked(self, facts, keys)


@dataclass(frozen=True)
class Looked:
    """A data set that was counted."""

    opened: Opened
    facts: DataSet
    keys: Keyed | None = None


def _opened(source: Any, name: str) -> Opened:
    from stethoscope.observe.data.opening import open_table
    from stethoscope.store.profiles import is_profile, load_profile

    if isinstance(source, Profile):
        return Opened(name, profile=source)
    if is_profile(source):
        return Opened(str(source), profile=load_profile(source))
    table = open_table(source, name)
    return Opened(table.name, table)


def _overlap(one: Looked, two: Looked, target: str, without: Sequence[str]) -> Overlap | None:
    """Rows of the second set that are in the first; None where one of them is a profile."""
    from stethoscope.observe.data.repeats import overlap_of

    if one.opened.table is None or two.opened.table is None:
        return None
    profiles = one.facts.profile, two.facts.profile
    return overlap_of(one.opened.table, two.opened.table, profiles, (one.keys, two.keys), target, without)


SAMPLED = 20_000
"""Rows that are looked at one by one: neighbours, single-column models and classifiers take seconds for more."""
MOST_CLASSES = 50
"""Whole numbers with more different values than this are taken for amounts."""


def task_of(profile: Profile, target: str) -> str:
    """`classification` for categories, truths and few whole numbers; else `regression`."""
    column = profile.column(target)
    if column is None or column.kind == "empty":
        return ""
    numbers = column.numbers
    if column.kind in ("number", "date") and numbers is not None:
        few = numbers.distinct_is_exact and numbers.distinct <= MOST_CLASSES
        return "classification" if few and numbers.whole == numbers.count else "regression"
    return "classification"


def _check_column(name: str, names: Sequence[str], where: str) -> None:
    if name in names:
        return
    import difflib

    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(one) for one in near)}?" if near else ""
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise UsageError(f"{os.path.basename(where)} has no column {name!r}{hint or f'; it has {shown}'}")
