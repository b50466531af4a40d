"""Inspects data sets. Wires the rooms up, decides nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from stethoscope.core.errors import UsageError
from stethoscope.core.finding import Diagnosis
from stethoscope.core.settings import Settings, read_settings
from stethoscope.diagnose.inspect import inspect
from stethoscope.diagnose.select import read_limits, select
from stethoscope.diagnose.suppress import allowed_in_settings
from stethoscope.facts.data import Data, Profile

if TYPE_CHECKING:
    from stethoscope.observe.data.sets import Opened


@dataclass(frozen=True)
class Inspection:
    """What came of inspecting data sets."""

    diagnosis: Diagnosis
    data: Data
    took: float = 0.0
    """Seconds."""

    def to_html(self) -> str:
        """The page, one file that needs nothing else."""
        from stethoscope.render.inspection_page import to_html

        return to_html(self.diagnosis, self.data)

    def save_profile(self, file: Path) -> None:
        """Save the profile of the training set, to be compared with later. Raises UsageError."""
        from stethoscope.store.profiles import save_profile

        save_profile(self.data.train.profile, file)

    def show(self, stream: TextIO) -> None:
        """Print it."""
        from stethoscope.render.inspection import print_inspection

        print_inspection(self.diagnosis, self.data, stream=stream, took=self.took)


def inspect_data(
    train: Any,
    test: Any = None,
    *,
    target: str | None = None,
    text: str | None = None,
    sensitive: Sequence[str] = (),
    predictions: str | None = None,
    settings: Settings | None = None,
) -> Inspection:
    """Check a data set, alone or beside another one, and say what is wrong with it.

    Args:
        train: a path, a frame (pandas, Polars, PyArrow, DuckDB, Dask, PySpark, Ibis), a dict of arrays, an array, or a
            torch data set or loader, or a saved profile (`Any`: none of these libraries is needed here).
        test: what it is compared with: test, validation or newer data.
        target: name of the column to be predicted.
        text: name of the column that holds the texts; found by itself when None.
        sensitive: columns whose groups are compared.
        predictions: name of the column with a model's predictions.
        settings: limits and allowed rules; those of the nearest `pyproject.toml` when None.

    Raises:
        UsageError: a column that does not exist, or a kind of data that is not known.
        BadFile: a file that cannot be read.
    """
    from stethoscope.observe.data.joint import joint_shift
    from stethoscope.observe.data.sets import count, shared

    began = time.perf_counter()
    settings = settings or read_settings(Path.cwd())
    first = _opened(train, "train")
    second = None if test is None else _opened(test, "test")
    for name in (*(one for one in (target, text, predictions) if one), *sensitive):
        _check_column(name, first.columns, first.name)
    without = (predictions,) if predictions else ()
    one = count(first, None, target or "", without, SAMPLED)
    trained = one.facts.profile
    two = None if second is None else count(second, trained, target or "", without, SAMPLED)
    data = Data(
        one.facts,
        None if two is None else two.facts,
        target=target or "",
        task=task_of(trained, target) if target else "",
        sensitive=tuple(sensitive),
        predictions=predictions or "",
        overlap=None if two is None else shared(one, two, target or "", without),
    )
    data = looked_at(data)
    data = replace(data, joint=joint_shift(data))
    diagnosis = inspect(
        data,
        rules=select(settings.only, settings.without),
        overrides=read_limits(settings.limits),
        suppressions=allowed_in_settings(settings.allow),
    )
    return Inspection(diagnosis, data, time.perf_counter() - began)


def _opened(source: Any, name: str) -> Opened:
    """The rows of a source, or the profile that it is."""
    from stethoscope.observe.data.opening import open_table
    from stethoscope.observe.data.sets import Opened
    from stethoscope.store.profiles import is_profile, load_profile

    if isinstance(source, Profile):
        return Opened(name, profile=source)
    if is_profile(source):
        return Opened(str(source), profile=load_profile(Path(source)))
    table = open_table(source, name)
    if not table.fields() or not table.rows():
        raise UsageError(f"{table.name} has no {'rows' if table.fields() else 'columns'}")
    return Opened(table.name, table)


def looked_at(data: Data) -> Data:
    """With what can be seen in the sampled rows of the training set."""
    from stethoscope.observe.data.far import far_rows
    from stethoscope.observe.data.ordering import order
    from stethoscope.observe.data.ties import ties

    rows, others = data.train.sample, tuple(name for name in (data.target, data.predictions) if name)
    train = replace(
        data.train,
        ties=ties(rows, data.target, data.task, others) if data.target else (),
        outliers=far_rows(rows, others),
        order=order(rows, data.target, data.task),
    )
    return replace(data, train=train)


SAMPLED = 20_000
"""Rows that are looked at one by one: neighbours, single-column models and classifiers take seconds for more."""
MOST_CLASSES = 50
"""Whole numbers with more different values than this are taken for amounts."""
FEWEST_OF_A_CLASS = 3
"""Rows of a class, on average: where nearly every row has a value of its own, it is an amount."""
MOST_CODES = 10
"""The same of those that do not start at 0 or 1 (or -1), as numbers of classes do: heights in inches are amounts."""


def task_of(profile: Profile, target: str) -> str:
    """`classification` for categories, truths and few whole numbers; else `regression`."""
    column = profile.column(target)
    if column is None or column.kind == "empty":
        return ""
    numbers = column.numbers
    if column.kind in ("number", "date") and numbers is not None:
        most = MOST_CLASSES if numbers.least in (-1, 0, 1) else MOST_CODES
        most = min(most, max(MOST_CODES, numbers.count // FEWEST_OF_A_CLASS))
        few = numbers.distinct_is_exact and numbers.distinct <= most
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
