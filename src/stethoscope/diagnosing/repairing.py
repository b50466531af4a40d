"""Finds what can be repaired in a data set: from the findings, and the facts that they rest on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from math import isfinite

from stethoscope.core.finding import Diagnosis, Finding, Severity, Sureness
from stethoscope.core.repair import (
    AsDate,
    AsMissing,
    AsNumber,
    Clip,
    Compress,
    CountFromZero,
    Decode,
    DropColumns,
    DropRepeats,
    DropWithout,
    FillIn,
    OneSpelling,
    Repair,
    Repairs,
    Scale,
    Shuffle,
)
from stethoscope.facts.data import Column, Data, Words
from stethoscope.facts.units import factors_of, units_of
from stethoscope.rules.data.missing_values import MissingValues
from stethoscope.rules.data.mixed_formats import MixedFormats
from stethoscope.rules.data.outliers import Outliers
from stethoscope.rules.data.skewed_feature import SkewedFeature
from stethoscope.rules.tabular import numeric_inputs

Limits = Mapping[str, Mapping[str, float]]

ORDER = (
    DropColumns, Decode, AsMissing, AsNumber, AsDate, OneSpelling, CountFromZero, DropWithout, DropRepeats, FillIn,
    Clip, Compress, Scale, Shuffle,
)  # fmt: skip
"""A step can rely on those before it."""
DATE_FORMS = {
    "date 1999-12-31": ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"),
    "date 31.12.1999": ("%d.%m.%Y", "%d.%m.%y"),
    "date 31 Dec 1999": ("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y"),
}
DAY_FIRST = ("%d/%m/%Y", "%d/%m/%y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M")
MONTH_FIRST = ("%m/%d/%Y", "%m/%d/%y", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M")


def repairs(diagnosis: Diagnosis, data: Data, limits: Limits | None = None) -> Repairs:
    """The repairs for the findings of an inspection; what was allowed is not repaired.

    Args:
        diagnosis: the findings.
        data: what they were found in.
        limits: rule name to limit name to value, as they were for the inspection.
    """
    steps: dict[Repair, None] = {}
    left: list[tuple[str, str]] = []
    for finding in diagnosis.findings:
        own = list(_REPAIRS[finding.rule](finding, data, limits or {})) if finding.rule in _REPAIRS else []
        steps |= dict.fromkeys(own)
        if not own:
            left.append((finding.rule, finding.title))
    for read in _read_first(list(steps), data):
        steps.setdefault(read)
    dropped = {name for step in steps if isinstance(step, DropColumns) for name in step.columns}
    kept = [step for step in steps if isinstance(step, DropColumns) or getattr(step, "column", None) not in dropped]
    made = tuple(step.column for step in kept if isinstance(step, AsNumber) and step.column != data.target)
    kept = [_scaled(step, dropped, made) for step in kept]
    sentinels = {step.column for step in kept if isinstance(step, AsMissing) and any(map(isfinite, step.numbers))}
    kept = [
        step for step in kept if not (isinstance(step, Compress) and step.column in sentinels)
    ]  # they were the tail
    kept.sort(key=lambda step: ORDER.index(type(step)))
    files = tuple(one.name for one in data.sets) if all("." in one.name for one in data.sets) else ()
    return Repairs(tuple(kept), tuple(left), files)


def _read_first(steps: list[Repair], data: Data) -> Iterator[Repair]:
    """What makes numbers and dates of columns that are written as texts, where a step needs them so."""
    known = {step.column for step in steps if isinstance(step, AsNumber | AsDate)}
    for step in steps:
        if isinstance(step, FillIn) and step.how == "word":
            continue
        names = (
            step.columns
            if isinstance(step, Scale)
            else (step.column,)
            if isinstance(step, FillIn | Clip | Compress)
            else ()
        )
        for name in names:
            column = data.train.profile.column(name)
            if name in known or column is None or column.words is None:
                continue
            known.add(name)
            if column.kind == "number":
                yield AsNumber(step.rule, name)
            elif column.kind == "date":
                yield _date(step.rule, name, column.words)


def _numeric(step: Repair) -> tuple[str, ...]:
    """Columns that a step takes for numbers or dates."""
    match step:
        case Scale(columns=columns):
            return columns
        case FillIn(how="word"):
            return ()
        case FillIn(column=name) | Clip(column=name) | Compress(column=name):
            return (name,)
    return ()


def _scaled(step: Repair, dropped: set[str], made: tuple[str, ...]) -> Repair:
    """The step, for scaling with the columns that are numbers by then."""
    if isinstance(step, Scale):
        return Scale(step.rule, (*(name for name in step.columns if name not in {*dropped, *made}), *made))
    return step


def _column(finding: Finding, data: Data, name: str) -> Column | None:
    """The column as the set has it that the finding is about."""
    where = next((one for one in data.sets if one.name == finding.place.file), data.train)
    return where.profile.column(name)


def _missing(finding: Finding, data: Data, limits: Limits) -> Iterator[Repair]:
    rule = MissingValues(limits.get("missing-values"))
    for name in finding.place.columns or ():
        column = _column(finding, data, name)
        gap = rule.gap(column) if column is not None else None
        if column is None or gap is None or finding.sureness is Sureness.POSSIBLE:
            continue  # a 0, or a text, that may be a value
        words = tuple(text for text, _ in column.words.missing) if column.words is not None else ()
        numbers: tuple[float, ...] = ()
        days: tuple[str, ...] = ()
        if gap.sentinel is not None and column.kind == "date":
            days = (gap.written,) if column.words is None else ()
            words += _texts_of(gap.written, column.words) if column.words is not None else ()
        elif gap.sentinel is not None:
            numbers = (gap.sentinel,)
        numbers += (float("inf"), float("-inf")) if gap.infinite else ()
        if words or numbers or days:
            yield AsMissing(finding.rule, name, words, numbers, days)
        if name == data.target:
            yield DropWithout(finding.rule, name)
        else:
            yield _filled(finding.rule, column, gap.share >= rule.much)


def _texts_of(day: str, words: Words) -> tuple[str, ...]:
    """The texts of a column that are this day, whichever way they are written."""
    year, month, date = day.split("-")
    forms = {day, f"{year}/{month}/{date}", f"{date}.{month}.{year}"}
    forms |= {f"{one}/{other}/{year}" for one, other in ((date, month), (month, date))}
    forms |= {f"{int(one)}/{int(other)}/{year}" for one, other in ((date, month), (month, date))}
    return tuple(text for text, _ in words.top if re.split(r"[ T]", text.strip(), maxsplit=1)[0] in forms)


def _filled(rule: str, column: Column, is_much: bool) -> FillIn:
    if column.kind in ("number", "date"):
        return FillIn(rule, column.name, "median", told=is_much)
    if column.kind == "truth":
        return FillIn(rule, column.name, "most frequent", told=is_much)
    return FillIn(rule, column.name, "word")


def _formats(finding: Finding, data: Data, limits: Limits) -> Iterator[Repair]:
    for name in finding.place.columns or ():
        column = _column(finding, data, name)
        if column is None or column.words is None:
            continue
        words = column.words
        forms = MixedFormats(limits.get(finding.rule)).forms(words)
        if words.damaged:
            yield Decode(finding.rule, name)
        if forms and forms[0].kind.startswith("date"):
            yield _date(finding.rule, name, words)
        elif forms:
            yield from _numbers_of(finding, data, name, words)
        elif words.variants:
            yield OneSpelling(finding.rule, name, tuple(_merged(words)))


def _units(finding: Finding, data: Data, limits: Limits) -> Iterator[Repair]:
    for name in finding.place.columns or ():
        column = _column(finding, data, name)
        if column is not None and column.words is not None:
            yield from _numbers_of(finding, data, name, column.words)


def _numbers_of(finding: Finding, data: Data, name: str, words: Words) -> Iterator[Repair]:
    """What makes numbers of texts; nothing where they are in units that no factor leads between."""
    units = units_of(pair for pair in words.top if pair not in words.missing)
    named = [unit for unit in units if unit.name]
    factors = factors_of(units) if named else {}
    if factors is None or None in factors.values():
        return
    sizes = tuple((unit, size) for unit, size in factors.items() if size is not None)
    strangers = [form.examples[0] for form in words.spellings if not form.kind.startswith("number") and form.examples]
    strangers += [unit.example for unit in named if unit.name not in factors]
    bare = any(not unit.name for unit in units)
    doubt = f"those without a unit are taken for {named[0].name}" if named and bare else ""
    yield AsNumber(finding.rule, name, tuple(strangers), sizes, doubt)
    if strangers and name != data.target:
        yield FillIn(finding.rule, name, "median")


def _merged(words: Words) -> Iterator[tuple[str, str]]:
    """Each spelling with the commonest of its group, that without blanks around it."""
    for group in words.variants:
        best = group[0].strip()
        yield from ((text, best) for text in group if text != best)


def _date(rule: str, name: str, words: Words) -> AsDate:
    """A column of dates: day or month first is read off values that leave no doubt."""
    tried: list[str] = []
    doubt = ""
    for form in words.spellings:
        if form.kind == "date 31/12/1999":
            parts = [text.strip().split("/") for text, _ in words.top if text.count("/") == 2]
            pairs = [(int(one[0]), int(one[1])) for one in parts if one[0].isdigit() and one[1].isdigit()]
            day, month = any(first > 12 for first, _ in pairs), any(second > 12 for _, second in pairs)
            tried += MONTH_FIRST if month and not day else DAY_FIRST
            if day == month:
                doubt = "some have the day first and some the month" if day else "day or month first is a guess"
        else:
            tried += DATE_FORMS.get(form.kind, ())
    return AsDate(rule, name, tuple(tried), doubt)


def _outliers(finding: Finding, data: Data, limits: Limits) -> Iterator[Repair]:
    rule = Outliers(limits.get(finding.rule))
    for name in finding.place.columns or ():
        column = _column(finding, data, name)
        for one in rule.isolated(column) if column is not None else ():
            is_above = one.value > one.edge
            yield Clip(finding.rule, name, None if is_above else one.edge, one.edge if is_above else None)


def _skewed(finding: Finding, data: Data, limits: Limits) -> Iterator[Repair]:
    sparse = SkewedFeature(limits.get(finding.rule)).zeros
    for name in finding.place.columns or ():
        column = data.train.profile.column(name)
        numbers = column.numbers if column is not None else None
        if numbers is None or numbers.zeros >= sparse * numbers.count:
            continue  # no transform spreads a column of zeros
        if numbers.least > 0:
            yield Compress(finding.rule, name, "log", least=numbers.least)
            continue
        middle = numbers.quantile(0.75) - numbers.quantile(0.25) or numbers.std / 10 or 1.0
        yield Compress(finding.rule, name, "log1p" if numbers.least >= 0 else "arcsinh", float(f"{middle:.3g}"))


def _scales(finding: Finding, data: Data, limits: Limits) -> Iterator[Repair]:
    names = [column.name for column, numbers in numeric_inputs(data) if numbers.distinct > 2]
    yield Scale(finding.rule, tuple(names))


def _repeats(finding: Finding, data: Data, limits: Limits) -> Iterator[Repair]:
    if data.train.repeats is not None and data.train.repeats.exact:
        yield DropRepeats(finding.rule)


def _dropped(finding: Finding, data: Data, limits: Limits) -> Iterator[Repair]:
    yield DropColumns(finding.rule, finding.place.columns or ())


def _constant(finding: Finding, data: Data, limits: Limits) -> Iterator[Repair]:
    if finding.severity is not Severity.NOTE:  # a rare value may be what it is all about
        yield DropColumns(finding.rule, finding.place.columns or ())


def _shuffled(finding: Finding, data: Data, limits: Limits) -> Iterator[Repair]:
    yield Shuffle(finding.rule)


def _labels(finding: Finding, data: Data, limits: Limits) -> Iterator[Repair]:
    column = data.train.profile.column(data.target)
    numbers = column.numbers if column is not None else None
    if numbers is not None and numbers.values and numbers.whole == numbers.count:
        yield CountFromZero(finding.rule, data.target, tuple(int(value) for value, _ in numbers.values))


_REPAIRS: dict[str, Callable[[Finding, Data, Limits], Iterator[Repair]]] = {
    "constant-feature": _constant,
    "duplicate-samples": _repeats,
    "identifier-feature": _dropped,
    "label-out-of-range": _labels,
    "missing-values": _missing,
    "mixed-formats": _formats,
    "mixed-units": _units,
    "outliers": _outliers,
    "skewed-feature": _skewed,
    "unnormalized-input": _scales,
    "unshuffled-data": _shuffled,
}
