"""Categories of a second set that the training set does not have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.comparable import comparable
from stethoscope.facts.data import Column, Data, DataSet, Words
from stethoscope.facts.statistics import chosen, share_interval
from stethoscope.rules.budget import SHARES
from stethoscope.rules.columns import named
from stethoscope.rules.newcomers import New, new_values
from stethoscope.rules.shifting import percent, rows_of
from stethoscope.rules.sites import code, one_spelling
from stethoscope.rules.two_sets import two_sets

MOST_NAMED = 5


def _classes(seen: Data) -> list[tuple[Column, Column]]:
    """The target of both sets, where it has classes: none was taught what only the second set has. Numbers as words."""
    if seen.test is None or seen.task != "classification":
        return []
    one, other = (_named_classes(each.profile.column(seen.target)) for each in seen.sets)
    return [(one, other)] if one is not None and other is not None and one.words and other.words else []


def _named_classes(column: Column | None) -> Column | None:
    """A column whose numbers are all known as one of words; numbers that are written as texts in the same form."""
    numbers = column.numbers if column is not None else None
    if column is None or numbers is None or not numbers.values:
        return column
    top = tuple((f"{value:g}", count) for value, count in sorted(numbers.values, key=lambda pair: (-pair[1], pair[0])))
    missing = column.words.missing if column.words is not None else ()
    words = Words(count=numbers.count, distinct=len(top), top=top, missing=missing)
    return replace(column, kind="category", numbers=None, words=words)


class NewCategories(Rule):
    """The second set has categories that are not in the training set.

    ## What it sees
    The values of each column of categories in both sets. Rare values are in one set only by nature: how many, and how
    often, is what dealing the rows out at random would give, and only more than that is reported. A value that differs
    from a known one by case, spacing or punctuation is named as another spelling of it. A target of which no class is
    known is an error: what a model answers is then never right.
    ## Why it hurts
    An encoder raises an error, or turns what it does not know into zeros, or into the number of another category: the
    model answers as if it knew nothing.
    ## How to fix it
    Bring spellings together. Keep a place for unknown values, and train with some rows in it.
    ## When it is not a fault
    New customers, shops or words that are expected, with a place kept for them.
    ## Sources
    N. Polyzotis et al., "Data Validation for Machine Learning", MLSys 2019.
    I. J. Good, "The population frequencies of species", Biometrika 40, 1953 (what is met for the first time).
    """

    severity = Severity.WARNING
    explains = ("distribution-shift",)

    share = Limit(
        0.01, unit="share of the rows with a new category, at least, for a warning", why="fewer rows cost little"
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Look for values of the second set that chance does not explain, column by column."""
        if seen.test is None:
            yield self.cannot_tell("there is only one data set")
            return
        columns = [
            new_values(one.name, one.words, other.words)
            for one, other in (*comparable(seen), *_classes(seen))
            if one.words is not None and other.words is not None and one.numbers is None
        ]
        known = [each for each in columns if each is not None]
        sure = chosen([each.chance for each in known], SHARES[self.name])
        found = [
            each if is_sure else each.spellings()
            for each, is_sure in zip(known, sure, strict=True)
            if each.values and (is_sure or each.known)
        ]
        if found:
            certain = {each.name for each, is_sure in zip(known, sure, strict=True) if is_sure}
            found.sort(key=lambda each: (each.name not in certain, -each.share))
            yield self._report(seen.test, found, certain, seen.target)
        if not known and any(one.words and not one.words.is_complete for one, _ in comparable(seen)):
            yield self.cannot_tell("the columns of words have more values than were counted")

    def _report(self, one: DataSet, found: list[New], certain: set[str], target: str) -> Finding:
        where = one.name
        worst = found[0]
        many = worst.name in certain and share_interval(worst.share * worst.rows, worst.rows)[0] >= self.share
        spellings = [(each.name, new, old) for each in found for new, old in each.known.items()]
        what = "1 new category" if len(worst.values) == 1 else f"{len(worst.values):,} new categories"
        title = f"{named(worst.name)} has {what} in {percent(worst.share)} of the second set"
        if worst.known and len(worst.known) == len(worst.values):
            title = f"{named(worst.name)} has new spellings in {percent(worst.share)} of the second set"
        has_no_class = worst.name == target and worst.share == 1 and worst.name in certain and not worst.known
        if has_no_class:
            title = f"{named(target)} has none of the training set's classes in the second set"
        evidence = [
            Evidence(
                f"rows of {named(each.name)} with a new value, such as {_quoted(each.values[0][0])}",
                f"{percent(each.share)}, {len(each.values):,} values",
                f"about {each.expected:.2g} values" if each.expected >= 0.5 else "0",
                "what dealing the rows out at random would give",
            )
            for each in found[:MOST_NAMED]
        ]
        evidence += [
            Evidence(f"spelling in {named(name)}", _quoted(new), _quoted(old), "of the training set")
            for name, new, old in spellings[:MOST_NAMED]
        ]
        fixes = []
        if spellings:
            name = spellings[0][0]
            known = {new: old for each, new, old in spellings if each == name}
            fixes.append(Fix("Bring the spellings together, in both sets:\n" + one_spelling(name, known)))
        if has_no_class:
            fixes.append(
                Fix("Write the classes in one way:\n" + code(f"test[{target!r}] = test[{target!r}].map(names)"))
            )
        elif worst.name == target:
            fixes.append(
                Fix(
                    "Deal the rows of each class to both sets:\n"
                    + code(f"train, test = train_test_split(frame, stratify=frame[{target!r}])")
                )
            )
        else:
            fixes.append(
                Fix(
                    "Keep a place for what is unknown:\n"
                    + code('encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10)')
                )
            )
        return self.finding(
            title,
            severity=Severity.ERROR if has_no_class else Severity.WARNING if many else Severity.NOTE,
            sureness=Sureness.CERTAIN if many else Sureness.LIKELY,
            place=Place(file=where, columns=tuple(each.name for each in found)),
            evidence=evidence,
            cause=f"The set `{where}` has values that the training set has in no row"
            + (", more of them than chance leaves to one set. " if certain else ". ")
            + "A model was taught nothing about them.",
            fixes=fixes,
            unless="they are expected, and a place is kept for them.",
            suspects=[row for each in found[:MOST_NAMED] for row in _suspects(one, each)],
        )

    bad = Examples(lambda: {
        "one": two_sets({"a": ({"x": 500, "y": 500}, {"x": 450, "y": 450, "z": 100})}),
        "next to a warning": two_sets({"a": ({"x": 9000, "y": 1000}, {"x": 9000, "y": 879, "z": 121})}),
        "next to no warning": two_sets({"a": ({"x": 9000, "y": 1000}, {"x": 9000, "y": 882, "z": 118})}),
        "a class of numbers": two_sets({"y": ([0, 1] * 50, [0, 1, 7, 7, 7, 7] * 9)}, target="y", task="classification"),
        "other names of the classes": two_sets(
            {"y": ({"yes": 50, "no": 50}, {"1": 30, "0": 30})}, target="y", task="classification"
        ),
        "another spelling": two_sets({"a": ({"New York": 500, "Oslo": 500}, {"new york": 400, "Oslo": 600})}),
        "one row in another spelling": two_sets({"a": ({"male": 500, "female": 500}, {"male ": 1, "female": 499})}),
    })  # fmt: skip
    good = Examples(lambda: {
        "the same": two_sets({"a": ({"x": 500, "y": 500}, {"x": 480, "y": 520})}),
        "rare ones": two_sets({
            "a": ({"x": 900} | {f"a{i}": 1 for i in range(100)}, {"x": 900} | {f"b{i}": 1 for i in range(100)})
        }),
        "the same classes": two_sets({"y": ([0, 1] * 50, [0, 1, 1] * 9)}, target="y", task="classification"),
        "one row": two_sets({"a": ({"x": 500, "y": 500}, {"x": 499, "y": 500, "z": 1})}),
        "spellings that the training set has, too": two_sets({
            "a": ({"Oslo": 500, "oslo": 5, "x": 495}, {"Oslo": 500, "OSLO": 1, "x": 499})
        }),
    })  # fmt: skip


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:23] + "…")


def _suspects(one: DataSet, new: New) -> list[SuspectRow]:
    values = one.sample.values.get(new.name)
    if values is None or values.dtype != object:
        return []
    names = {text for text, _ in new.values}
    return rows_of(one, new.name, np.array([value in names for value in values]), "not in the first set")
