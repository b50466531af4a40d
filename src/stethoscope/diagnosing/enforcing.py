"""Holds new data against a schema: which columns and rows break it. Pure: the same facts, the same findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.finding import (
    Diagnosis,
    Evidence,
    Finding,
    Fix,
    Kind,
    Place,
    Severity,
    Sureness,
    SuspectRow,
)
from stethoscope.core.text import amount, number
from stethoscope.diagnosing.suppress import Suppressions, suppress
from stethoscope.facts.data import Column, DataSet, Rows
from stethoscope.facts.schema import ColumnSchema, Schema, kind_of
from stethoscope.facts.sentinels import known_as_missing
from stethoscope.rules.columns import named, row_of

Doubles = NDArray[np.float64]

RULES = ("schema-violation", "out-of-range-values", "new-categories", "missing-values-rise")
MANY = 0.01
"""Share of the rows from which on a breach is a warning."""
FEWEST = 3
"""Rows, for a warning: fewer are single slips."""
Z = 3.7
"""Standard errors: one in 10,000 columns that keep to their share of missing values is beyond them."""
NAMED = 5
MOST_ROWS = 1000
"""Rows of a column that are listed."""


@dataclass(frozen=True)
class Breach:
    """A column that breaks its schema."""

    column: str
    what: str
    """What was measured."""
    seen: str
    wanted: str
    is_grave: bool
    rows: tuple[int, ...] = ()
    why: str = ""
    """What is wrong with each of these rows."""


def enforce(schema: Schema, new: DataSet, suppressions: Suppressions | None = None) -> Diagnosis:
    """The breaches of a schema, one finding a rule.

    Args:
        schema: what the data has to keep to.
        new: the data; rows are judged on its sample, which may be all of it.
        suppressions: what the user allowed.
    """
    seen = _without_nothing(schema, new)
    pairs = [(wanted, seen.profile.column(wanted.name)) for wanted in schema.columns]
    present = [(wanted, column) for wanted, column in pairs if column is not None and column.rows]
    structure = [*_structure(schema, seen), *_repeated(present, seen.sample)]
    found = [
        _finding(new, "schema-violation", structure, _STRUCTURE, Severity.ERROR),
        _finding(new, "out-of-range-values", list(_ranges(present, seen.sample)), _RANGES),
        _finding(new, "new-categories", list(_categories(present, seen)), _CATEGORIES),
        _finding(new, "missing-values-rise", list(_missing(present, seen.sample)), _MISSING),
    ]
    stay, silenced = suppress([one for one in found if one is not None], suppressions or Suppressions())
    ordered = sorted(stay, key=lambda one: (-one.severity.gravity, RULES.index(one.rule)))
    return Diagnosis(
        findings=tuple(replace(one, rank=place) for place, one in enumerate(ordered, start=1)),
        checked=RULES,
        not_checked=(),
        silenced=tuple(silenced),
    )


def _without_nothing(schema: Schema, new: DataSet) -> DataSet:
    """The data, numbers that the schema knows to stand for nothing taken for missing."""
    stand = {wanted.name: wanted.missing_as for wanted in schema.columns if wanted.missing_as}
    columns = tuple(known_as_missing(one, stand.get(one.name, ())) for one in new.profile.columns)
    values = {
        name: np.where(np.isin(some, stand[name]), np.nan, some) if name in stand and some.dtype != object else some
        for name, some in new.sample.values.items()
    }
    return replace(new, profile=replace(new.profile, columns=columns), sample=replace(new.sample, values=values))


def _structure(schema: Schema, new: DataSet) -> Iterator[Breach]:
    known = {wanted.name for wanted in schema.columns}
    extra = [column.name for column in new.profile.columns if column.name not in known]
    for wanted in schema.columns:
        column = new.profile.column(wanted.name)
        if column is None:
            if wanted.required:
                yield Breach(
                    wanted.name, f"column {named(wanted.name)}", "not there", f"a column of {wanted.kind}", True
                )
        elif column.rows and not _is_kind(column, wanted):
            yield Breach(wanted.name, f"kind of {named(wanted.name)}", kind_of(column), wanted.kind, True)
        elif wanted.whole and column.numbers is not None and column.numbers.whole < column.numbers.count:
            rows = _where(new.sample, wanted.name, lambda values: np.isfinite(values) & (values != np.floor(values)))
            share = f"{column.numbers.count - column.numbers.whole:,} rows"
            yield Breach(wanted.name, f"{named(wanted.name)} with a fraction", share, "whole numbers", False, rows,
                         f"{wanted.name} has a fraction")  # fmt: skip
    if extra:
        names = ", ".join(named(name) for name in extra[:NAMED])
        yield Breach("", f"columns that the training set lacks: {names}", f"{len(extra):,}", "0", False)


def _is_kind(column: Column, wanted: ColumnSchema) -> bool:
    kind = kind_of(column)
    if "any" in (kind, wanted.kind) or kind == wanted.kind:
        return True
    numbers = column.numbers
    # What an engine takes for a truth may have been 0 and 1 before, and the reverse.
    is_bit = numbers is not None and (not numbers.count or {numbers.least, numbers.greatest} <= {0.0, 1.0})
    return {kind, wanted.kind} == {"number", "truth"} and is_bit


def _repeated(present: Sequence[tuple[ColumnSchema, Column]], sample: Rows) -> Iterator[Breach]:
    for wanted, _ in present:
        values = sample.values.get(wanted.name)
        if not wanted.unique or values is None:
            continue
        known = values != np.array(None) if values.dtype == object else np.isfinite(values.astype(np.float64))
        places = np.flatnonzero(known)
        _, first, back = np.unique(values[places].astype(str if values.dtype == object else float), True, True)
        again = places[first[back] != np.arange(places.size)]
        if again.size:
            rows = tuple(int(row) for row in sample.index[again][:MOST_ROWS])
            what = f"rows whose {named(wanted.name)} came before"
            yield Breach(wanted.name, what, f"{again.size:,}", "0", False, rows, f"{wanted.name} came before")


def _ranges(present: Sequence[tuple[ColumnSchema, Column]], sample: Rows) -> Iterator[Breach]:
    for wanted, column in present:
        numbers = column.numbers
        if numbers is None or not (numbers.count or numbers.infinite) or not _is_kind(column, wanted):
            continue
        low = -np.inf if wanted.least is None else wanted.least
        high = np.inf if wanted.greatest is None else wanted.greatest
        bounded = np.isfinite([low, high]).any()
        infinite = numbers.infinite if bounded else 0
        if not infinite and not (numbers.least < low or numbers.greatest > high):
            continue
        rows = _where(sample, wanted.name, partial(_is_beyond, low=low, high=high))
        count = max(1, len(rows), infinite)
        width = high - low
        is_far = bool(np.isfinite(width)) and (low - numbers.least > width or numbers.greatest - high > width)
        is_grave = is_far or infinite > 0 or (count >= FEWEST and count >= MANY * sample.count)
        seen = f"{_value(wanted, numbers.least)} to {_value(wanted, numbers.greatest)}"
        seen = f"{infinite:,} infinite" if infinite else seen
        wanted_range = f"{_value(wanted, low)} to {_value(wanted, high)}"
        yield Breach(wanted.name, f"range of {named(wanted.name)} ({amount(count, 'row')} beyond)", seen, wanted_range,
                     is_grave, rows, f"{wanted.name} is out of range")  # fmt: skip


def _is_beyond(values: Doubles, low: float, high: float) -> NDArray[np.bool_]:
    return (values < low) | (values > high)


def _value(wanted: ColumnSchema, value: float) -> str:
    if wanted.kind == "date" and np.isfinite(value):
        return str(np.datetime64(round(value), "s")).replace("T", " ")
    return number(value)


def _categories(present: Sequence[tuple[ColumnSchema, Column]], new: DataSet) -> Iterator[Breach]:
    for wanted, column in present:
        if wanted.categories is None or column.words is None:
            continue
        known = {*wanted.categories, *(text for text, _ in column.words.missing)}
        strange = [(text, count) for text, count in column.words.top if text not in known]
        if not strange:
            continue
        rows = _rows_with(new.sample, wanted.name, {text for text, _ in strange})
        count = sum(each for _, each in strange)
        values = ", ".join(repr(text[:24]) for text, _ in strange[:3])
        yield Breach(
            wanted.name, f"rows of {named(wanted.name)} with new words, such as {values}",
            f"{count:,} ({len(strange):,} words)", f"one of {len(wanted.categories):,} words",
            count >= FEWEST and count >= MANY * column.rows, rows, f"{wanted.name} is new",
        )  # fmt: skip


def _missing(present: Sequence[tuple[ColumnSchema, Column]], sample: Rows) -> Iterator[Breach]:
    for wanted, column in present:
        if not column.missing or wanted.kind == "any":
            continue
        share = column.missing / column.rows
        if wanted.nullable:
            most = 1.0 if wanted.most_missing is None else wanted.most_missing
            if share - Z * sqrt(max(most * (1 - most), 1e-9) / column.rows) <= most:
                continue
        else:
            most = 0.0
        rows = _without_value(sample, column)
        yield Breach(wanted.name, f"rows without {named(wanted.name)}", f"{column.missing:,} ({share:.1%})",
                     f"at most {most:.1%}" if most else "0", column.missing >= FEWEST and share >= MANY, rows,
                     f"{wanted.name} is missing")  # fmt: skip


def _where(sample: Rows, name: str, test: Callable[[Doubles], NDArray[np.bool_]]) -> tuple[int, ...]:
    """Rows of the sample whose number passes a test."""
    values = sample.values.get(name)
    if values is None or values.dtype == object:
        return ()
    with np.errstate(invalid="ignore"):
        hit = test(values.astype(np.float64))
    return tuple(int(row) for row in sample.index[hit][:MOST_ROWS])


def _rows_with(sample: Rows, name: str, texts: set[str]) -> tuple[int, ...]:
    values = sample.values.get(name)
    if values is None or values.dtype != object:
        return ()
    hit = np.fromiter((value in texts for value in values), bool, values.size)
    return tuple(int(row) for row in sample.index[hit][:MOST_ROWS])


def _without_value(sample: Rows, column: Column) -> tuple[int, ...]:
    values = sample.values.get(column.name)
    if values is None:
        return ()
    if values.dtype != object:
        hit = np.isnan(values.astype(np.float64))
    else:
        spelled = {text for text, _ in column.words.missing} if column.words is not None else set()
        hit = np.fromiter((value is None or value in spelled for value in values), bool, values.size)
    return tuple(int(row) for row in sample.index[hit][:MOST_ROWS])


@dataclass(frozen=True)
class _Words:
    """What is said of all breaches of a rule."""

    one: str
    many: str
    cause: str
    fix: str
    unless: str


_STRUCTURE = _Words(
    "{} breaks the schema: {}", "{} breaches of the schema, {} first",
    "The data has not the columns that the model was trained on: it fails, or takes one thing for another.",
    "Refuse such data where it comes in:\n    findings = stethoscope.inspecting.enforce(frame, 'schema.json')",
    "the schema is older than the model: learn it again with --schema.",
)  # fmt: skip
_RANGES = _Words(
    "{} lies out of its range: {}", "{} columns out of their range, {} first",
    "Beyond what it was trained on, a model extrapolates without saying so: most often a unit or a slip.",
    "Look at the rows; refuse what is wrong, and clip what is right and rare:\n    frame = frame.clip(least, greatest)",
    "the world has changed: widen the range in the schema when the model was trained on it.",
)  # fmt: skip
_CATEGORIES = _Words(
    "{} has words that are not in the schema: {}", "{} columns with new words, {} first",
    "The model was taught nothing about these words: an encoder fails, or turns them into zeros.",
    "Keep a place for unknown words:\n    OneHotEncoder(handle_unknown=\"ignore\")",
    "they are expected, and a place is kept for them.",
)  # fmt: skip
_MISSING = _Words(
    "{} is missing more often than it was: {}", "{} columns miss more values than before, {} first",
    "A source has stopped to fill them in, or spells nothing in a new way; what is filled in weighs more than before.",
    "Look where they come from. Until then, refuse or fill in:\n    frame = frame.fillna(train.median())",
    "the schema was learned from a selection without gaps.",
)  # fmt: skip


def _finding(
    new: DataSet, rule: str, breaches: list[Breach], words: _Words, worst: Severity = Severity.WARNING
) -> Finding | None:
    """One finding for the breaches of a rule; None where there are none."""
    if not breaches:
        return None
    breaches = sorted(breaches, key=lambda one: not one.is_grave)
    first = breaches[0]
    title = words.one.format(named(first.column), first.seen) if first.column else f"{first.seen} columns are new"
    if len(breaches) > 1:
        title = words.many.format(len(breaches), named(first.column) if first.column else "new columns")
    grave = any(one.is_grave for one in breaches)
    severity = worst if grave else Severity.NOTE
    if rule == "schema-violation" and not grave and any(one.column for one in breaches):
        severity = Severity.WARNING
    sampled = new.sample.count < new.profile.rows
    source = f"of the schema; rows of a sample of {new.sample.count:,}" if sampled else "of the schema"
    suspects = tuple(
        SuspectRow(new.name, row, row_of(new.sample, row, one.column), one.why) for one in breaches for row in one.rows
    )
    return Finding(
        rule=rule,
        kind=Kind.CAUSE,
        severity=severity,
        sureness=Sureness.CERTAIN,
        title=title[:72],
        cause=words.cause,
        evidence=tuple(Evidence(one.what, one.seen, one.wanted, source) for one in breaches[:NAMED]),
        fixes=(Fix(words.fix),),
        place=Place(
            file=new.name,
            rows=tuple(dict.fromkeys(one.row for one in suspects))[:50] or None,
            columns=tuple(one.column for one in breaches if one.column) or None,
        ),
        unless=words.unless,
        suspects=suspects,
    )
