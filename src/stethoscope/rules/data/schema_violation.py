"""Columns of a second set that are not those of the training set."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Rule
from stethoscope.facts.data import Column, Data
from stethoscope.rules.columns import named
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import beside, column, two_sets, yes_no

MOST_NAMED = 5
ALIKE = 0.8
"""Likeness of two names from which on one is taken for the other, renamed."""
SAME = ({"category", "text"}, {"number", "truth"})
"""Kinds between which the border is not sharp."""


@dataclass(frozen=True)
class Differences:
    """Between the columns of two sets."""

    lacking: tuple[str, ...]
    extra: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    """Old and new name; neither is in the other fields."""
    kinds: tuple[tuple[Column, Column], ...]
    order: bool
    """Whether the same columns stand in another order."""


class SchemaViolation(Rule):
    """The columns of the second set are not those of the training set, or hold another kind of values.

    ## What it sees
    Names, kinds (numbers, categories, dates, ...) and order of the columns of both sets, target and predictions left
    out. A name that is nearly another one's is taken for the same column, renamed.
    ## Why it hurts
    A pipeline fails on a missing column, or takes the next one for it. Numbers that were read as texts are encoded as
    categories, and mean nothing any more.
    ## How to fix it
    Give both sets the same columns, by name, and read them with the same types.
    ## When it is not a fault
    Columns that no model uses.
    ## Sources
    E. Breck et al., "Data Validation for Machine Learning", MLSys 2019.
    """

    severity = Severity.ERROR
    explains = ("mixed-formats",)

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Compare names, kinds and order."""
        if seen.test is None:
            yield self.cannot_tell("there is only one data set")
            return
        found = _differences(seen)
        if found.lacking or found.renamed or found.kinds:
            yield self._report(seen, found, Severity.ERROR)
        elif found.extra or found.order:
            yield self._report(seen, found, Severity.NOTE)

    def _report(self, seen: Data, found: Differences, severity: Severity) -> Finding:
        assert seen.test is not None
        where = seen.test.name
        first, second = seen.inputs(seen.train), seen.inputs(seen.test)
        shared = len({one.name for one in first} & {other.name for other in second})
        evidence = [
            Evidence("columns with the same name", f"{shared} of {len(second)}", f"{len(first)} of {len(first)}")
        ]
        evidence += [
            Evidence(f"kind of {named(other.name)} in the second set", _kind(other), _kind(one), "in the training set")
            for one, other in found.kinds[:MOST_NAMED]
        ]
        evidence += [Evidence("column of the second set", named(new), named(old)) for old, new in found.renamed]
        if found.lacking:
            evidence.append(Evidence("columns that the second set lacks", _names(found.lacking), "0"))
        if found.extra:
            evidence.append(Evidence("columns that only the second set has", _names(found.extra), "0"))
        if found.order:
            evidence.append(Evidence("order of the columns", "another one", "the same 1", "of the training set"))
        columns = [*found.lacking, *(old for old, _ in found.renamed), *(one.name for one, _ in found.kinds)]
        return self.finding(
            _title(found),
            severity=severity,
            sureness=Sureness.CERTAIN,
            place=Place(file=where, columns=tuple(columns) or found.extra or None),
            evidence=evidence,
            cause=f"The set `{where}` was made or read in another way than {seen.train.name}."
            + (" Only code that goes by the place of a column is harmed." if found.order and not columns else ""),
            fixes=list(_fixes(seen, found)),
            unless="no model uses these columns.",
        )

    bad = Examples(lambda: {
        "one is missing": beside(_pair("a", "b"), _pair("a")),
        "renamed": beside(_pair("a", "unit_price"), _pair("a", "UnitPrice")),
        "numbers read as texts": two_sets({"a": ([1.0, 2.0, 3.0], {"1,0": 1, "2,0": 1, "3,0": 1})}),
        "one more": beside(_pair("a"), _pair("a", "b")),
        "another order": beside(_pair("a", "b"), _pair("b", "a")),
    })  # fmt: skip
    good = Examples(lambda: {
        "the same": beside(_pair("a", "b"), _pair("a", "b")),
        "no labels": beside(_pair("a", "y"), _pair("a"), target="y"),
        "truths as numbers": two_sets({"a": ([0.0, 1.0, 1.0], [0.0, 0.0, 1.0])}),
        "an empty column": beside([column("a", [1.0, 2.0])], [column("a", {}, nulls=2)]),
        "one and zero as truths": beside(
            [replace(column("a", [0.0, 1.0]), kind="truth")], [column("a", [0.0, 1.0, 1.0])]
        ),
    })  # fmt: skip


def _pair(*names: str) -> list[Column]:
    return [column(name, yes_no(0.5, 100)) for name in names]


def _differences(seen: Data) -> Differences:
    assert seen.test is not None
    first, second = seen.inputs(seen.train), seen.inputs(seen.test)
    before, after = [one.name for one in first], [other.name for other in second]
    renamed = _renamed([name for name in before if name not in after], [name for name in after if name not in before])
    gone = {old for old, _ in renamed} | {new for _, new in renamed}
    others = {other.name: other for other in second}
    kinds = tuple((one, others[one.name]) for one in first if one.name in others and _differ(one, others[one.name]))
    return Differences(
        lacking=tuple(name for name in before if name not in after and name not in gone),
        extra=tuple(name for name in after if name not in before and name not in gone),
        renamed=renamed,
        kinds=kinds,
        order=sorted(before) == sorted(after) and before != after,
    )


def _differ(one: Column, other: Column) -> bool:
    kinds = {one.kind, other.kind}
    return len(kinds) == 2 and "empty" not in kinds and not any(kinds <= same for same in SAME)


def _renamed(lacking: list[str], extra: list[str]) -> tuple[tuple[str, str], ...]:
    """Columns that are the same under another name: equal but for case and punctuation, or nearly so."""
    pairs, left = [], list(extra)
    for name in lacking:
        near = [new for new in left if _bare(new) == _bare(name)] or difflib.get_close_matches(name, left, 1, ALIKE)
        # What differs by a number only (x1, x2) is another column.
        if near and re.findall(r"\d+", near[0]) == re.findall(r"\d+", name):
            pairs.append((name, near[0]))
            left.remove(near[0])
    return tuple(pairs)


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _kind(column: Column) -> str:
    return f"{column.kind} ({column.dtype})" if column.dtype else column.kind


def _names(names: tuple[str, ...]) -> str:
    more = ", ..." if len(names) > MOST_NAMED else ""
    return f"{len(names)}: {', '.join(named(name) for name in names[:MOST_NAMED])}{more}"


def _title(found: Differences) -> str:
    if found.kinds:
        one, other = found.kinds[0]
        return f"{named(one.name)} holds {_values(one)} in training, {_values(other)} here"
    if found.lacking:
        more = f" and {len(found.lacking) - 1} more" if len(found.lacking) > 1 else ""
        return f"the second set lacks the column {named(found.lacking[0])}{more}"
    if found.renamed:
        old, new = found.renamed[0]
        return f"{named(old)} is called {named(new)} now"
    if found.extra:
        more = f" and {len(found.extra) - 1} more" if len(found.extra) > 1 else ""
        return f"only the second set has {named(found.extra[0])}{more}"
    return "the second set has its columns in another order"


def _values(column: Column) -> str:
    plural = {"number": "numbers", "category": "words", "text": "texts", "date": "dates", "truth": "truths"}
    return plural.get(column.kind, "others")


def _fixes(seen: Data, found: Differences) -> Iterator[Fix]:
    if found.renamed:
        names = ", ".join(f"{new!r}: {old!r}" for old, new in found.renamed[:MOST_NAMED])
        yield Fix("Give the columns their old names:\n" + code(f"test = test.rename(columns={{{names}}})"))
    for one, other in found.kinds[:1]:
        if one.kind == "number":
            fixed = f"test[{other.name!r}] = pd.to_numeric(test[{other.name!r}])"
        elif one.kind == "date":
            fixed = f"test[{other.name!r}] = pd.to_datetime(test[{other.name!r}])"
        else:
            fixed = f"test[{other.name!r}] = test[{other.name!r}].astype(train[{one.name!r}].dtype)"
        yield Fix("Read it with the same type:\n" + code(fixed))
    if found.lacking or found.extra or found.order:
        yield Fix("Take the columns of the training set, by name:\n" + code("test = test[train.columns]"))
