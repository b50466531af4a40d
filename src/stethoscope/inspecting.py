"""Inspects data sets. Wires the rooms up, decides nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from stethoscope import displaying as displaying
from stethoscope.core.display import Shown
from stethoscope.core.errors import UsageError
from stethoscope.core.finding import Diagnosis
from stethoscope.core.settings import Settings, read_settings
from stethoscope.core.text import amount
from stethoscope.diagnosing.inspect import inspect
from stethoscope.diagnosing.select import read_limits, select
from stethoscope.diagnosing.suppress import allowed_in_settings
from stethoscope.facts.data import Data, DataSet, Profile
from stethoscope.facts.learning import Learning
from stethoscope.facts.schema import Schema, learn

if TYPE_CHECKING:
    from stethoscope.observe.data.pictures import Looked
    from stethoscope.observe.data.sets import Opened

Progress = Callable[[str, float], None]
"""Told what is being done, and the share of all of it (0..1) that is done."""


@dataclass(frozen=True)
class Inspection(Shown):
    """What came of inspecting data sets."""

    diagnosis: Diagnosis
    data: Data
    took: float = 0.0
    """Seconds."""
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Those that the user changed."""

    def suggest(self, library: str = "pandas") -> str:
        """A script for `pandas` or `polars` that repairs what can be repaired. Raises UsageError for another one."""
        from stethoscope.diagnosing.repairing import repairs
        from stethoscope.render.script import LIBRARIES, to_script

        if library not in LIBRARIES:
            raise UsageError(f"no lines for {library!r}: choose {' or '.join(LIBRARIES)}")
        return to_script(repairs(self.diagnosis, self.data, self.limits), library)

    def to_html(self) -> str:
        """The page, one file that needs nothing else."""
        from stethoscope.render.inspection_page import to_html

        return to_html(self.diagnosis, self.data)

    def schema(self) -> Schema:
        """What new data has to keep to, as the training set has it."""
        return learn(self.data.train.profile, self.data.target)

    def save_schema(self, file: Path) -> None:
        """Save the schema of the training set as JSON. Raises UsageError."""
        from stethoscope.store.schemas import save_schema

        save_schema(self.schema(), file)

    def save_profile(self, file: Path) -> None:
        """Save the profile of the training set, to be compared with later. Raises UsageError."""
        from stethoscope.store.profiles import save_profile

        save_profile(self.data.train.profile, file)

    def show(self, stream: TextIO, *, verbose: bool = False) -> None:
        """Print it; `verbose` with each check that was not possible, and why."""
        from stethoscope.render.inspection import print_inspection

        print_inspection(self.diagnosis, self.data, stream=stream, took=self.took, verbose=verbose)


def inspect_data(
    train: Any,
    test: Any = None,
    *,
    target: str | None = None,
    text: str | None = None,
    sensitive: Sequence[str] = (),
    predictions: str | None = None,
    probabilities: Any = None,
    history: Any = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
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
        probabilities: (rows of train, classes), of a model that was not trained on the row, the classes in the order
            of the sorted labels; made here when None, to find wrong labels.
        history: how a network learned the rows: (epochs, rows of train, classes), what it answered to each row while it
            was trained on it, logits or probabilities; or a recorded run (its folder, its id, `last`, or what
            `load_run` gives). Wrong labels are then found by that.
        settings: limits and allowed rules; those of the nearest `pyproject.toml` when None.
        progress: told what is being done, and the share of all of it (0..1) that is done.

    Raises:
        UsageError: a column that does not exist, or a kind of data that is not known.
        BadFile: a file that cannot be read.
    """
    from stethoscope.observe.data.joint import joint_shift
    from stethoscope.observe.data.picture_sources import is_pictures
    from stethoscope.observe.data.pictures import with_listed
    from stethoscope.observe.data.sets import count, shared
    from stethoscope.observe.data.texts import with_texts

    began = time.perf_counter()
    settings = settings or read_settings(Path.cwd())
    history = _recorded(history, settings)
    if is_pictures(train):
        return _inspect_pictures(train, test, target, settings, began, progress or _silent, history)
    first = _opened(train, "train")
    second = None if test is None else _opened(test, "test")
    for name in (*(one for one in (target, text, predictions) if one), *sensitive):
        _check_column(name, first.columns, first.name)
    tell = progress or _silent
    tell(f"count {os.path.basename(first.name)}", 0.05)
    without = (predictions,) if predictions else ()
    one = count(first, None, target or "", without, SAMPLED)
    trained = one.facts.profile
    if second is not None:
        tell(f"count {os.path.basename(second.name)}", 0.35)
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
    tell("look at single rows", 0.65)
    data = with_near(looked_at(data, probabilities, history))
    data = with_texts(replace(data, joint=joint_shift(data)), text)
    data, pictures = with_listed(data, [_folder(one) for one in (train, test)][: len(data.sets)])
    tell("judge", 0.95)
    diagnosis = _judged(data, settings)
    took = time.perf_counter() - began
    return Inspection(diagnosis, _illustrated(data, diagnosis, pictures), took, read_limits(settings.limits))


def _recorded(history: Any, settings: Settings) -> Any:
    """What a run has recorded of how its rows were learned; arrays as they are. Raises BadFile."""
    from stethoscope.store import reader

    if isinstance(history, str | os.PathLike):
        is_folder = os.path.isdir(history)
        history = reader.load_run(Path(history) if is_folder else reader.find_run(Path(settings.store), str(history)))
    return history.history.learning if hasattr(history, "record") and hasattr(history, "history") else history


def _with_history(train: DataSet, history: Any, looked: Looked) -> DataSet:
    """Pictures with what a run has recorded of their labels. Raises UsageError."""
    from stethoscope.observe.data.recorded_history import from_run

    if not isinstance(history, Learning):
        raise UsageError("of pictures, `history` can be a recorded run only")
    images = looked.images
    if not images.labels:
        return train
    labels = {place: images.labels[row] for row, place in enumerate(looked.places)}
    told, learned = from_run(history, labels, len(looked.pictures), "class")
    of = {place: row for row, place in enumerate(looked.places)}
    suspects = tuple(replace(one, row=of[one.row]) for one in told.suspects)
    index = np.array([of[int(place)] for place in learned.index], np.int64)
    return replace(train, labels=replace(told, suspects=suspects), dynamics=replace(learned, index=index))


def _folder(source: Any) -> str:
    """From which the files that a table names are counted."""
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        return str(path) if os.path.isdir(path) else os.path.dirname(str(path))
    return ""


def _judged(data: Data, settings: Settings) -> Diagnosis:
    return inspect(
        data,
        rules=select(settings.only, settings.without),
        overrides=read_limits(settings.limits),
        suppressions=allowed_in_settings(settings.allow),
    )


def _inspect_pictures(
    train: Any, test: Any, target: str | None, settings: Settings, began: float, tell: Progress, history: Any
) -> Inspection:
    from stethoscope.observe.data.picture_sources import called, is_pictures, open_pictures
    from stethoscope.observe.data.pictures import CLASS, data_of, look

    if test is not None and not is_pictures(test):
        raise UsageError("the first set holds pictures, and the second one none; expected two folders of pictures")
    if target and target != CLASS and target not in (names := called(train)):
        _check_column(target, [CLASS, *names], "train")
    looked = []
    given = [(one, name) for one, name in ((train, "train"), (test, "test")) if one is not None]
    for place, (one, name) in enumerate(given):
        pictures = open_pictures(one, name, target or "")

        def told(part: float, place: int = place, what: str = f"look at {amount(len(pictures), 'picture')}") -> None:
            tell(what, 0.02 + 0.8 * (place + part) / len(given))

        looked.append(look(pictures, told))
    tell("ask what tells the class", 0.85)
    data = data_of(looked)
    if target and not data.target:
        raise UsageError(f"{os.path.basename(data.train.name)} has no label for each picture")
    if history is not None:
        data = replace(data, train=_with_history(data.train, history, looked[0]))
    diagnosis = _judged(data, settings)
    return Inspection(diagnosis, _illustrated(data, diagnosis, looked), time.perf_counter() - began)


def _illustrated(data: Data, diagnosis: Diagnosis, looked: Sequence[Looked]) -> Data:
    """With thumbnails of what the findings are about."""
    if not looked:
        return data
    from stethoscope.observe.data.pictures import illustrated

    told: dict[str, list[int]] = {one.name: [] for one in data.sets}
    for finding in diagnosis.findings:
        for row in finding.suspects[:SHOWN]:
            if row.row >= 0:
                told[row.data].append(row.row)
    return illustrated(data, looked, told)


SHOWN = 24
"""Pictures of a finding that are drawn on the page."""


def enforce(
    new: Any, schema: Schema | Mapping[str, Any] | str | Path, *, settings: Settings | None = None
) -> Inspection:
    """Hold new data against a schema: for a service, before its model answers.

    Args:
        new: anything that `inspect_data` takes; rows are told apart in 100,000 of them at most.
        schema: as `Inspection.schema` gives it, its file, or what is in that.
        settings: allowed rules; those of the nearest `pyproject.toml` when None.

    Raises:
        UsageError: a kind of data that is not known.
        BadFile: a file that cannot be read.
    """
    from stethoscope.diagnosing.enforcing import enforce as judge
    from stethoscope.observe.data.opening import open_table
    from stethoscope.observe.data.profiling import profile, sampled
    from stethoscope.store.schemas import from_document, load_schema

    began = time.perf_counter()
    settings = settings or read_settings(Path.cwd())
    if isinstance(schema, str | Path):
        schema = load_schema(Path(schema))
    elif not isinstance(schema, Schema):
        schema = from_document(schema)
    table = open_table(new, "new data")
    counted = profile(table)
    data = DataSet(table.name, counted, sampled(table, counted, ENFORCED))
    diagnosis = judge(schema, data, allowed_in_settings(settings.allow))
    return Inspection(diagnosis, Data(data), time.perf_counter() - began)


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


def looked_at(data: Data, probabilities: Any = None, history: Any = None) -> Data:
    """With what can be seen in the sampled rows of the training set.

    Args:
        data: the sets.
        probabilities: the user's own for each row of the training set (`Any`: whatever NumPy takes), or None.
        history: and those of each epoch of a training, or None.

    Raises:
        UsageError: probabilities, or a history, of another shape.
    """
    from stethoscope.observe.data.contradicted import contradicted
    from stethoscope.observe.data.far import far_rows
    from stethoscope.observe.data.groups import groups
    from stethoscope.observe.data.label_errors import from_training, label_suspects
    from stethoscope.observe.data.ordering import order
    from stethoscope.observe.data.recorded_history import from_run
    from stethoscope.observe.data.segments import weak_segments
    from stethoscope.observe.data.ties import ties
    from stethoscope.observe.data.units import mixtures

    rows, others = data.train.sample, tuple(name for name in (data.target, data.predictions) if name)
    tied = ties(rows, data.target, data.task, others) if data.target else ()
    # Columns of texts have no tie, and are read by models all the same.
    telling = list(dict.fromkeys([*(tie.column for tie in tied), *(one for one in rows.values if one not in others)]))
    labels, learned = None, None
    if isinstance(history, Learning) and data.task == "classification" and data.target in rows.values:
        named = {
            int(row): f"{one:g}" if isinstance(one, float) else str(one)
            for row, one in zip(rows.index, rows.values[data.target].tolist(), strict=True)
            if one is not None and one == one
        }
        labels, learned = from_run(history, named, data.train.profile.rows, data.target)
    elif history is not None and data.task == "classification" and data.target in rows.values:
        labels, learned = from_training(rows, data.target, telling, _of_rows(history, data.train, 3))
    else:
        labels = label_suspects(rows, data.target, data.task, telling, _of_rows(probabilities, data.train, 2))
    train = replace(
        data.train,
        ties=tied,
        labels=labels,
        dynamics=learned,
        groups=groups(rows, data.target, data.task, data.sensitive, data.predictions),
        weak=weak_segments(rows, data.target, data.task, telling, data.predictions),
        outliers=far_rows(rows, others),
        order=order(rows, data.target, data.task),
        mixtures=mixtures(data.train, (data.predictions,)),
        contradicted=contradicted(data.train, others),
    )
    test = data.test
    if test is not None and data.predictions in test.sample.values:  # where a model's errors count
        test = replace(
            test,
            groups=groups(test.sample, data.target, data.task, data.sensitive, data.predictions),
            weak=weak_segments(test.sample, data.target, data.task, telling, data.predictions),
        )
    return replace(data, train=train, test=test)


def with_near(data: Data) -> Data:
    """With the sampled rows that are nearly the same as another one of their set, or of the first."""
    from stethoscope.observe.data.nearness import near_between, near_within

    others = [name for name in (data.target, data.predictions) if name]
    if data.train.repeats is not None:
        repeats = replace(data.train.repeats, near=near_within(data.train, others))
        data = replace(data, train=replace(data.train, repeats=repeats))
    if data.test is not None and data.overlap is not None:
        data = replace(data, overlap=replace(data.overlap, near=near_between(data.train, data.test, others)))
    return data


def _of_rows(outputs: Any, one: DataSet, axes: int) -> Any:
    """Of the sampled rows; None for None. The last axis are classes, the one before rows. Raises UsageError."""
    if outputs is None:
        return None
    given = np.asarray(outputs, np.float64)
    if given.ndim != axes or given.shape[-2] != one.profile.rows:
        wanted = "(rows, classes)" if axes == 2 else "(epochs, rows, classes)"
        raise UsageError(f"outputs have the shape {given.shape}; {wanted} of {one.profile.rows:,} rows are needed")
    return given[..., one.sample.index, :]


SAMPLED = 20_000
"""Rows that are looked at one by one: neighbours, single-column models and classifiers take seconds for more."""
ENFORCED = 100_000
"""Rows that are told apart where a schema is enforced."""
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


def _silent(what: str, done: float) -> None:
    """For those who do not ask."""


def _check_column(name: str, names: Sequence[str], where: str) -> None:
    if name in names:
        return
    import difflib

    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(one) for one in near)}?" if near else ""
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise UsageError(f"{os.path.basename(where)} has no column {name!r}{hint or f'; it has {shown}'}")
