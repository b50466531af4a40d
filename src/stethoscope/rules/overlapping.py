"""Rows, entities and times that two data sets share."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import Evidence, Finding, Fix, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Rule
from stethoscope.facts.comparable import SHARED
from stethoscope.facts.data import Column, Data, Near, Overlap, Repeats, Rows
from stethoscope.facts.statistics import at_least_chance
from stethoscope.rules.columns import decided_by_chance, named, row_of
from stethoscope.rules.shifting import percent
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import bell, two_sets, yes_no

FEW = 0.01
"""Share of the second set below which shared rows are only worth knowing."""
MOST_SHOWN = 20
BY_NATURE = 0.1
"""Share of the equal rows that chance has to explain for them to be taken as natural."""
AS_MANY = 3.0
"""Times the share of the first set's rows that repeat another one, up to which shared rows are natural: a row that has
a twin is counted once there, and meets either of the two here."""
FEWEST_NEAR = 10
"""Rows that are nearly equal to another one, below which nothing is said of them."""
OF_CHANCE = 3.0
"""Times what chance would give: rows are not spread as evenly as it takes them to be."""
SURELY = 1e-4
"""Chance of so many."""
UNSEEN = 3
"""Equal rows that there may be by nature although none was seen within the first set (95 % bound)."""
ENTITIES = 20
"""Entities from which on something can be said of them."""
AGREEING = 0.9
"""Share of the pairs of rows of one entity with the same label, from which on to know the entity is to know it."""
BY_CHANCE = 0.7
"""The same of any two rows, above which it says nothing."""


def overlaps(rule: Rule, seen: Data, share: float) -> Iterator[Finding]:
    """What two sets share.

    Args:
        rule: whose findings they are.
        seen: two sets, with facts of their overlap.
        share: of the second set's rows, from which on shared ones are an error.
    """
    found = seen.overlap
    if found is None or seen.test is None:
        return
    rows = max(seen.test.profile.rows, 1)
    count = max(found.exact, found.inputs)
    if count and not _is_natural(seen, count):
        yield _rows(rule, seen, found, count / rows, share)
    elif is_beyond_chance(found.near, share):
        yield _near(rule, seen, found.near)
    yield from _entities(rule, seen, found)
    yield from _times(rule, seen, found)


def is_beyond_chance(near: Near, share: float) -> bool:
    """Whether more rows are nearly equal to another one than as many dimensions give by chance, and than a share."""
    if near.found < max(FEWEST_NEAR, share * near.rows):
        return False
    return near.found >= OF_CHANCE * near.expected and at_least_chance(near.found, near.expected) <= SURELY


def nearly(near: Near, what: str) -> Evidence:
    """Rows with one neighbour far nearer than the others, beside how many there would be by chance."""
    return Evidence(
        what + " to the tenth nearest",
        f"{near.found:,} of {near.rows:,} ({near.found / near.rows:.1%})",
        f"about {near.expected:.0f}",
        "by chance in as many dimensions; among those sampled",
    )


def _is_natural(seen: Data, count: int) -> bool:
    """Whether rows that were drawn apart would be equal as often: in tables of few, coarse columns.

    The columns are taken to depend on each other by half, that is, to tell rows apart by the root of what independent
    ones would.
    """
    assert seen.test is not None
    alike = math.prod(_alike(column) for column in seen.inputs(seen.train))
    expected = math.sqrt(alike) * seen.train.profile.rows * seen.test.profile.rows
    if expected < BY_NATURE * count:
        return False
    repeats = seen.train.repeats
    if repeats is None:
        return True
    within = (repeats.exact + (repeats.conflicting or 0)) / max(seen.train.profile.rows, 1)
    return count <= UNSEEN + AS_MANY * within * seen.test.profile.rows


def _alike(column: Column) -> float:
    """Chance that two rows have the same value."""
    if column.numbers is not None and column.numbers.count:
        counts = [count for _, count in column.numbers.spikes]
        total, distinct = column.numbers.count, column.numbers.distinct
    elif column.words is not None and column.words.count:
        counts = [count for _, count in column.words.top]
        total, distinct = column.words.count, column.words.distinct
    else:
        return 1.0
    rest = max(0.0, 1 - sum(counts) / total)
    return min(1.0, sum((count / total) ** 2 for count in counts) + rest**2 / max(1, distinct - len(counts)))


def _suspects(seen: Data, found: Overlap) -> list[SuspectRow]:
    assert seen.test is not None
    return [
        SuspectRow(seen.test.name, row, why=f"equal to row {first:,} of {seen.train.name}")
        for first, row in found.examples[:MOST_SHOWN]
    ]


def _rows(rule: Rule, seen: Data, found: Overlap, part: float, share: float) -> Finding:
    assert seen.test is not None
    rows = seen.test.profile.rows
    count = max(found.exact, found.inputs)
    evidence = [
        Evidence(
            "rows of the second set that are equal to one of the first", f"{found.exact:,} of {rows:,}", "0",
            "in all columns",
        )
    ]  # fmt: skip
    if found.inputs > found.exact:
        evidence.append(
            Evidence("the same with another target", f"{found.inputs - found.exact:,}", "0", "all inputs equal")
        )
    if is_beyond_chance(found.near, 0.0):
        evidence.append(
            nearly(found.near, "rows of the second set nearer to one of the first than a quarter of the way")
        )
    small = Severity.WARNING if part >= FEW else Severity.NOTE
    large = Severity.ERROR if part >= share else small
    return rule.finding(
        f"{count:,} of {rows:,} rows of the second set are also in the first",
        severity=Severity.NOTE if decided_by_chance(seen) else large,
        sureness=Sureness.CERTAIN,
        place=Place(file=seen.test.name, rows=tuple(row for _, row in found.examples[:MOST_SHOWN]) or None),
        evidence=evidence,
        cause=f"{percent(part)} of `{seen.test.name}` can be answered from memory, which raises the score and says "
        "nothing about new rows. Rows that were duplicated or oversampled before the cut give this, and so do two "
        "shuffles.",
        fixes=[
            Fix(
                "Remove from the second set what the first one has:\n"
                + code(
                    "both = test.merge(train.drop_duplicates(), how='left', indicator=True)",
                    "test = test[(both['_merge'] == 'left_only').to_numpy()]",
                )
            ),
            Fix(
                "Better, remove duplicates before the cut:\n"
                + code("frame = frame.drop_duplicates()", "train, test = train_test_split(frame)")
            ),
        ],
        unless="the rows are equal by nature, because the table has few and coarse columns.",
        suspects=_suspects(seen, found),
    )


def _near(rule: Rule, seen: Data, near: Near) -> Finding:
    assert seen.test is not None
    return rule.finding(
        f"{percent(near.found / near.rows)} of the second set's rows are nearly equal to one of the first",
        severity=Severity.WARNING,
        sureness=Sureness.POSSIBLE,
        place=Place(file=seen.test.name, rows=tuple(row for _, row in near.examples) or None),
        evidence=[nearly(near, "rows nearer to one row of the first set than a quarter of the way")],
        cause="Copies with small changes, such as augmented or rounded rows, and measurements of the same thing, were "
        "dealt out to both sets: the score says how well they are remembered.",
        fixes=[
            Fix(
                "Keep what belongs together in one set:\n"
                + code(
                    "splitter = GroupShuffleSplit(test_size=0.2)", "train, test = next(splitter.split(x, y, groups))"
                )
            )
        ],
        unless="new rows will be as near to those of the first set.",
        suspects=[
            SuspectRow(seen.test.name, row, row_of(seen.test.sample, row), f"nearly row {first:,} of {seen.train.name}")
            for first, row in near.examples[:MOST_SHOWN]
        ],
    )


def _entities(rule: Rule, seen: Data, found: Overlap) -> Iterator[Finding]:
    assert seen.test is not None
    for name, shared, of in found.shared_keys:
        if of < ENTITIES or shared < SHARED * of:
            continue
        agreeing, by_chance = _agreement(seen.train.sample, name, seen.target)
        tells = agreeing >= AGREEING and by_chance <= BY_CHANCE
        evidence = [Evidence(f"different values of {named(name)} that both sets have", f"{shared:,} of {of:,}", "0")]
        if tells:
            evidence.append(
                Evidence(
                    f"pairs of rows with the same {named(name)} that have the same {named(seen.target)}",
                    percent(agreeing), percent(by_chance), "of any two rows",
                )
            )  # fmt: skip
        yield rule.finding(
            f"{shared:,} of {of:,} values of {named(name)} are in both sets",
            severity=Severity.WARNING if tells else Severity.NOTE,
            sureness=Sureness.LIKELY if tells else Sureness.POSSIBLE,
            place=Place(file=seen.test.name, columns=(name,)),
            evidence=evidence,
            cause="If it names a person, a patient or a machine, rows of one and the same are in both sets, and a "
            "model that recognizes it scores well without having learned anything of others."
            + (" Here its rows nearly all have one label." if tells else ""),
            fixes=[
                Fix(
                    "Split by it, so that each is in one set only:\n"
                    + code(
                        "splitter = GroupShuffleSplit(test_size=0.2, random_state=0)",
                        f"train, test = next(splitter.split(frame, groups=frame[{name!r}]))",
                    )
                )
            ],
            unless="the model will be asked about the same ones, or the column names a place or a product.",
        )


def _agreement(sample: Rows, name: str, target: str) -> tuple[float, float]:
    """Share of the pairs of rows with equal labels: of one entity, and of any; zeros where it is not known."""
    keys, labels = sample.values.get(name), sample.values.get(target)
    if keys is None or labels is None or not len(keys):
        return 0.0, 1.0
    keys, labels = np.array([str(one) for one in keys]), np.array([str(one) for one in labels])
    _, which = np.unique(keys, return_inverse=True)
    values, label = np.unique(labels, return_inverse=True)
    shares = np.bincount(label) / label.size
    if values.size > 50:
        return 0.0, 1.0
    table = np.zeros((int(which.max()) + 1, values.size))
    np.add.at(table, (which, label), 1)
    sizes = table.sum(axis=1)
    pairs = float((sizes * (sizes - 1)).sum())
    if pairs < 2 * ENTITIES:
        return 0.0, 1.0
    return float((table * (table - 1)).sum()) / pairs, float((shares**2).sum())


def _times(rule: Rule, seen: Data, found: Overlap) -> Iterator[Finding]:
    if found.times is None or seen.test is None:
        return
    name, first, last, second, end = found.times
    if not all(math.isfinite(one) for one in (first, last, second, end)) or second > last:
        return
    is_before = end < first
    what = "the second set is earlier than the first" if is_before else "the sets overlap in time"
    yield rule.finding(
        f"{what}, by {named(name)}",
        severity=Severity.WARNING if is_before else Severity.NOTE,
        sureness=Sureness.CERTAIN if is_before else Sureness.POSSIBLE,
        place=Place(file=seen.test.name, columns=(name,)),
        evidence=[
            Evidence(
                f"{named(name)} in the second set", f"{_day(second)} to {_day(end)}", f"after {_day(last)}",
                f"the first set is from {_day(first)} to {_day(last)}",
            )
        ],
        cause="The model learns from what came later than what it is tested on, so the score is not that of a forecast"
        + ("." if is_before else ", if it is meant to be one. Rows that are near in time are often alike, too."),
        fixes=[
            Fix(
                "Cut at a time:\n"
                + code(
                    f"frame = frame.sort_values({name!r})",
                    "train, test = frame.iloc[:n_train], frame.iloc[n_train:]",
                )
            )
        ],
        unless="the model is not meant to look ahead in time.",
    )  # fmt: skip


def _day(seconds: float) -> str:
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.4g}"


def _with(overlap: Overlap, repeats: int = 0, *, coarse: bool = False) -> Data:
    """Two sets of 1,000 rows with this overlap; of one coarse column, or of three fine ones."""
    fine = {f"x{i}": (bell(), bell()) for i in range(3)}
    data = two_sets({"a": (yes_no(0.5, 1000), yes_no(0.5, 1000))} if coarse else {**fine})
    return replace(data, overlap=overlap, train=replace(data.train, repeats=Repeats(exact=repeats)))


def _patients() -> Data:
    data = _with(Overlap(shared_keys=(("patient", 90, 100),)))
    keys = np.repeat(np.arange(200.0), 5)
    sample = Rows(np.arange(1000), {"patient": keys, "y": keys % 2})
    return replace(data, target="y", train=replace(data.train, sample=sample))


YEAR = 365.25 * 86_400


def bad() -> Mapping[str, Data]:
    """Examples on which something is said."""
    return {
        "a fifth of the rows": _with(Overlap(exact=200, inputs=210, examples=((3, 5), (8, 13)))),
        "a few rows": _with(Overlap(exact=5)),
        "nearly equal rows": _with(Overlap(near=Near(300, 1000, 3.0, ((3, 5),)))),
        "rows of the same patients": _patients(),
        "values of a key": _with(Overlap(shared_keys=(("shop", 50, 100),))),
        "tested on the past": _with(Overlap(times=("day", 30 * YEAR, 31 * YEAR, 28 * YEAR, 29 * YEAR))),
        "mixed in time": _with(Overlap(times=("day", 30 * YEAR, 31 * YEAR, 30 * YEAR, 31 * YEAR))),
        "more than within the first set": _with(Overlap(exact=20_000_000), coarse=True, repeats=3),
    }


def good() -> Mapping[str, Data]:
    """Examples on which nothing is said."""
    return {
        "no row of both": _with(Overlap()),
        "one coarse column": _with(Overlap(exact=1000), coarse=True, repeats=998),
        "few entities": _with(Overlap(shared_keys=(("shop", 10, 12),))),
        "cut at a time": _with(Overlap(times=("day", 30 * YEAR, 31 * YEAR, 31.01 * YEAR, 32 * YEAR))),
        "a few that are nearly equal": _with(Overlap(near=Near(9, 1000, 1.0))),
        "as many as by chance": _with(Overlap(near=Near(300, 1000, 110.0))),
    }
