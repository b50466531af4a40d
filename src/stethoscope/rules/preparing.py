"""Two data sets that were prepared differently: other units, spellings, places of columns or channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stethoscope.core.finding import Evidence, Finding, Fix, Place, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.comparable import comparable
from stethoscope.facts.data import Column, Data, Rows, Spelling
from stethoscope.facts.images import PROPERTIES, ImageSet
from stethoscope.facts.statistics import all_in_one_chance, chosen, effective
from stethoscope.rules.budget import SHARES
from stethoscope.rules.columns import listed, named
from stethoscope.rules.recolouring import colours
from stethoscope.rules.scaling import LARGE, MOST, Rescaling, rescaled
from stethoscope.rules.shifting import Shift, judged
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import bell, beside, column, two_sets, yes_no

MOST_NAMED = 5
MAIN = 0.9
"""Share of the values that are written in the usual way of a column."""
FEWEST = 20
"""Values of which that can be said."""
ALIKE = ({"number 1", "number 1.5"},)
"""Ways of writing that every reader takes for the same."""
MOST_SWAPPED = 20
"""Shifted columns among which a swap is looked for."""
NEAR = 0.1
"""Mean distance of the quantiles of two columns that hold the same, in standard deviations, beside that of few rows."""


def differences(rule: Rule, seen: Data) -> Iterator[Finding]:
    """All findings about two sets."""
    if seen.test is None:
        return
    changes = rescaled(seen)
    if changes:
        yield _scaled(rule, seen, changes)
    yield from _swapped(rule, seen, changes)
    yield from _spelled(rule, seen)
    yield from _missing(rule, seen)
    yield from colours(rule, seen)


def _place(seen: Data, *names: str) -> Place:
    return Place(file=seen.test.name if seen.test else None, columns=names or None)


def _scaled(rule: Rule, seen: Data, changes: Mapping[str, Rescaling]) -> Finding:
    assert seen.test is not None
    order = sorted(changes, key=lambda name: (not changes[name].known, -abs(np.log(changes[name].factor))))
    first = changes[order[0]]
    factors = np.array([changes[name].factor for name in order])
    middle = float(np.median([changes[name].factor for name in order if changes[name].known] or factors))
    alike = float(np.ptp(np.log(np.quantile(factors, [0.1, 0.9])))) < 0.4 and not 1 / 1.7 < middle < 1.7
    numeric = [one for one, _ in comparable(seen) if one.kind == "number"]
    words = first.words if len(order) == 1 else Rescaling(middle, 0.0).words
    size = words if alike or len(order) == 1 else "in other units"
    who = named(order[0]) if len(order) == 1 else f"{len(order):,} numeric columns"
    title = f"{who} {'is' if len(order) == 1 else 'are'} {size} now"
    known = sorted({changes[name].known for name in order if changes[name].known})
    is_sure = len(order) >= MOST * len(numeric) and len(order) > 1
    is_large = not 1 / LARGE < first.factor < LARGE or 1 / 1.7 < first.factor < 1.7
    evidence = [Evidence("numeric columns in other units", f"{len(order):,} of {len(numeric):,}", 0)]
    for name in order[:MOST_NAMED]:
        one, other = (each.profile.column(name) for each in seen.sets)
        if one and other and one.numbers and other.numbers:
            a, b = one.numbers, other.numbers
            evidence.append(
                Evidence(
                    f"mean and standard deviation of {named(name)}",
                    f"{b.mean:.4g} and {b.std:.4g}", f"{a.mean:.4g} and {a.std:.4g}",
                    f"{changes[name].words}, with the same shape",
                )
            )  # fmt: skip
    why = f" Such factors are {', or '.join(known[:2])}." if known else ""
    return rule.finding(
        title,
        severity=Severity.ERROR if is_sure or is_large else Severity.WARNING,
        place=_place(seen, *order),
        evidence=evidence,
        cause=f"The columns keep their shapes but not their scale: one set was divided, standardized or measured in "
        f"another unit, and the other was not.{why}",
        fixes=[
            Fix(
                "Prepare both by one function, with the numbers of the training set:\n"
                + code(
                    f"columns = [{listed(order[:MOST_NAMED])}]",
                    "scaler = StandardScaler().fit(train[columns])",
                    "train[columns] = scaler.transform(train[columns])",
                    "test[columns] = scaler.transform(test[columns])",
                )
            ),
            Fix("Or bring the second set to the units of the first:\n" + code(_undone(order[0], first))),
        ],
        unless="the two sets hold other things that happen to have the same shape.",
    )


def _undone(name: str, change: Rescaling) -> str:
    """A line that brings a column back to the units of the first set."""
    moved = f"(test[{name!r}] - {change.offset:.6g})" if change.offset else f"test[{name!r}]"
    scaled = f" * {1 / change.factor:.6g}" if change.factor < 1 else f" / {change.factor:.6g}"
    return f"test[{name!r}] = {moved}{scaled if change.factor != 1 else ''}"


def _swapped(rule: Rule, seen: Data, changes: Mapping[str, Rescaling]) -> Iterator[Finding]:
    """Two columns of numbers each of which looks like the other one did."""
    assert seen.test is not None
    pairs = [pair for pair in comparable(seen) if pair[0].kind == "number"]
    moved = [each for each in judged(pairs, SHARES[rule.name]) if each.verdict == "shift" and each.effect > 0.2]
    samples = seen.train.sample, seen.test.sample
    found = []
    for place, one in enumerate(moved[:MOST_SWAPPED]):
        for other in moved[place + 1 : MOST_SWAPPED]:
            if _looks_like(one, other, samples) and _looks_like(other, one, samples):
                found.append((one, other))
    if not found:
        return
    one, other = found[0]
    yield rule.finding(
        f"{named(one.name)} and {named(other.name)} changed places",
        severity=Severity.ERROR,
        place=_place(seen, *dict.fromkeys(each.name for pair in found for each in pair)),
        evidence=[
            Evidence(
                f"median of {named(each.name)}",
                f"{each.other.numbers.quantile(0.5):.4g}" if each.other.numbers else "",
                f"{each.one.numbers.quantile(0.5):.4g}" if each.one.numbers else "",
                f"{twin.one.numbers.quantile(0.5):.4g} is that of {named(twin.name)}" if twin.one.numbers else "",
            )
            for pair in found[:2]
            for each, twin in (pair, pair[::-1])
        ],
        cause="Each of the two columns is distributed as the other one is in the training set, and no longer as it "
        "was: the columns were read or named in another order.",
        fixes=[
            Fix(
                "Give the columns of the second set their right names:\n"
                + code(f"test = test.rename(columns={{{one.name!r}: {other.name!r}, {other.name!r}: {one.name!r}}})")
            )
        ],
        unless="both have shifted, each to where the other was.",
    )


def _looks_like(one: Shift, other: Shift, samples: tuple[Rows, Rows]) -> bool:
    """Whether the first column, in the second set, is what the other one was in the first set."""
    values = [rows.values.get(each.name) for rows, each in zip(samples, (other, one), strict=True)]
    if any(each is None or each.dtype == object or each.size < FEWEST for each in values):
        return False
    shares = np.linspace(0.05, 0.95, 91)
    before, now = (np.nanquantile(np.asarray(each, np.float64), shares) for each in values)
    spread = float(before.std())
    noise = 1 / np.sqrt(effective(samples[0].count, samples[1].count))
    return spread > 0 and float(np.abs(now - before).mean()) < (NEAR + noise) * spread


def _spelled(rule: Rule, seen: Data) -> Iterator[Finding]:
    """Columns whose numbers or dates are written in another way."""
    found = []
    for one in seen.train.profile.columns:
        other = seen.test.profile.column(one.name) if seen.test else None
        if other is None or one.words is None or other.words is None:
            continue
        before, now = main_form(one.words.spellings), main_form(other.words.spellings)
        if before and now and before.kind != now.kind and {before.kind, now.kind} not in ALIKE:
            found.append((one.name, before, now))
    if not found:
        return
    name, before, now = found[0]
    yield rule.finding(
        f"{named(name)} is written in another way in the second set",
        severity=Severity.ERROR,
        sureness=Sureness.CERTAIN,
        place=_place(seen, *(name for name, _, _ in found)),
        evidence=[
            Evidence(
                f"how {named(name)} is written in {now.rows:,} rows", now.examples[0] if now.examples else now.kind,
                before.examples[0] if before.examples else before.kind, f"{now.kind}, was {before.kind}",
            )
            for name, before, now in found[:MOST_NAMED]
        ],
        cause="The same kind of value has another form in each set, so one parser reads them as different values, or "
        "fails: a day for a month, a thousand for a fraction, an unknown category.",
        fixes=[
            Fix(
                "Read each set by its own form, and compare afterwards:\n"
                + code(
                    f"test[{name!r}] = pd.to_datetime(test[{name!r}], dayfirst=True)"
                    if now.kind.startswith("date")
                    else f'test[{name!r}] = pd.to_numeric(test[{name!r}].str.replace(",", "."))'
                )
            )
        ],
        unless="each set is read by a parser of its own.",
    )  # fmt: skip


def main_form(spellings: tuple[Spelling, ...]) -> Spelling | None:
    """The way in which nearly all values are written, where it is one of numbers, dates or times."""
    rows = sum(each.rows for each in spellings)
    if rows < FEWEST or spellings[0].rows < MAIN * rows:
        return None
    return spellings[0] if spellings[0].kind.split()[0] in ("number", "date", "time") else None


@dataclass(frozen=True)
class _Spelled:
    name: str
    text: str
    rows: int
    usual: str
    chance: float


def _missing(rule: Rule, seen: Data) -> Iterator[Finding]:
    """Columns whose missing values are spelled in a way that the first set does not have."""
    assert seen.test is not None
    tried = []
    for one in seen.train.profile.columns:
        other = seen.test.profile.column(one.name)
        if other is None or other.words is None or one.name == seen.target or not one.rows or not other.rows:
            continue
        usual = dict(one.words.missing) if one.words else {}
        if one.nulls:
            usual["null"] = one.nulls
        names = {**dict(other.words.missing), **({"null": other.nulls} if other.nulls else {})}
        new = {text: count for text, count in names.items() if text not in usual}
        # What was never missing before has risen, which is another rule's.
        for text, count in new.items() if usual else ():
            main = max(usual, key=lambda each: usual[each])
            tried.append(_Spelled(one.name, text, count, main, all_in_one_chance(count, one.rows, other.rows)))
    sure = chosen([each.chance for each in tried], SHARES[rule.name] / 2)
    found = [each for each, is_sure in zip(tried, sure, strict=True) if is_sure]
    if not found:
        return
    first = found[0]
    yield rule.finding(
        f"missing values of {named(first.name)} are spelled {first.text[:12]!r}",
        severity=Severity.WARNING,
        sureness=Sureness.CERTAIN,
        place=_place(seen, *dict.fromkeys(each.name for each in found)),
        evidence=[
            Evidence(
                f"rows of {named(each.name)} with {each.text!r} in the second set",
                f"{each.rows:,}",
                "0",
                f"usual is {each.usual!r}",
            )
            for each in found[:MOST_NAMED]
        ],
        cause="What marks a missing value differs between the sets, so that in one of them it is read as a category, "
        "or as a text among numbers.",
        fixes=[
            Fix(
                "Name all spellings where the files are read:\n"
                + code(f"test = pd.read_csv(path, na_values=[{listed(dict.fromkeys(each.text for each in found))}])")
            )
        ],
        unless="the two spellings mean different things.",
    )


def sampled(data: Data, values: Mapping[str, tuple[Any, Any]]) -> Data:
    """Two sets with these values as their samples."""
    assert data.test is not None
    rows = [
        Rows(
            np.arange(len(next(iter(values.values()))[place])),
            {name: np.asarray(pair[place], np.float64) for name, pair in values.items()},
        )
        for place in (0, 1)
    ]
    return replace(data, train=replace(data.train, sample=rows[0]), test=replace(data.test, sample=rows[1]))


def _numbers(values: dict[str, tuple[list[float], list[float]]]) -> Data:
    return sampled(two_sets(values), values)


def _written(first: str, second: str) -> Data:
    sets = [[column("a", yes_no(0.5, 100), spellings=(Spelling(kind, 100, (kind,)),))] for kind in (first, second)]
    return beside(*sets)


def _with(first: Column, **missing: int) -> Data:
    other = column("a", {"x": 900, **missing}, missing=tuple(missing.items()))
    return beside([first], [other])


def _pictures(*colours: tuple[float, float], gray: tuple[float, float] = (0.0, 0.0)) -> Data:
    """Two sets of 100 pictures, with the mean red and blue of each."""
    data = beside([], [])
    sets = []
    for (red, blue), share in zip(colours, gray, strict=True):
        values = np.full((100, len(PROPERTIES)), np.nan)
        values[:, PROPERTIES.index("red")] = np.array(bell(100, red, 0.1))
        values[:, PROPERTIES.index("blue")] = np.array(bell(100, blue, 0.1))
        sets.append(ImageSet(values=values, gray=tuple(i < 100 * share for i in range(100))))
    assert data.test is not None
    return replace(data, train=replace(data.train, images=sets[0]), test=replace(data.test, images=sets[1]))


def bad() -> Mapping[str, Data]:
    """Examples on which something is said."""
    small, large = bell(500, 5.0, 1.0), bell(500, 5.0 * 255, 255.0)
    return {
        "a column times 255": _numbers({"a": (small, large), "b": (small, bell(500, 5.0))}),
        "all columns standardized": two_sets(
            {name: (bell(500), bell(500, 50.0, spread)) for name, spread in (("a", 2.0), ("b", 9.0), ("c", 0.4))}
        ),
        "pounds for kilograms": _numbers({"a": (bell(2000, 70, 12), bell(2000, 70 * 2.2046, 12 * 2.2046))}),
        "columns that changed places": _numbers({"a": (bell(500, 1), bell(500, 3)), "b": (bell(500, 3), bell(500, 1))}),
        "dates": _written("date 1999-12-31", "date 31/12/1999"),
        "decimal commas": _written("number 1.5", "number 1,5"),
        "another spelling of missing": _with(column("a", {"x": 900}, nulls=100), **{"N/A": 100}),
        "red for blue": _pictures((0.6, 0.4), (0.41, 0.59)),
        "gray pictures": _pictures((0.6, 0.4), (0.5, 0.5), gray=(0.0, 1.0)),
    }


def good() -> Mapping[str, Data]:
    """Examples on which nothing is said."""
    same = bell(500, 5.0)
    return {
        "the same sets": _numbers({"a": (same, same)}),
        "a shift": _numbers({"a": (same, bell(500, 5.5)), "b": (same, same)}),
        "wider in one column": _numbers({"a": (bell(500), bell(500, spread=2.0)), "b": (same, same)}),
        "another shape": _numbers({"a": (same, [*bell(250, 0.0), *bell(250, 60.0)]), "b": (same, same)}),
        "decimals in one set": _written("number 1", "number 1.5"),
        "the usual spelling": _with(column("a", {"x": 900, "N/A": 100}, missing=(("N/A", 100),)), **{"N/A": 90}),
        "pictures of the same colours": _pictures((0.6, 0.4), (0.58, 0.41)),
    }
