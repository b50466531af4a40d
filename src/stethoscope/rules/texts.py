"""Words about texts, and columns of them made of a few facts: what rules for texts and their examples share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from stethoscope.core.finding import Evidence, Finding, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Rule
from stethoscope.facts.data import Data, DataSet, Overlap, Profile, Rows
from stethoscope.facts.texts import PROPERTIES, TextSet
from stethoscope.rules.columns import named, row_of
from stethoscope.rules.sites import code

MOST_ROWS = 100
FEW = 0.01
"""Share of the texts from which on copies are a warning."""
BY_NATURE = 3.0
"""Times the share of texts that are alike within the first set: as alike as that are two sets that share none."""


def text_row(one: DataSet, row: int, why: str = "") -> SuspectRow:
    """A row with its text first."""
    return SuspectRow(one.name, row, row_of(one.sample, row, one.texts.column if one.texts else ""), why)


def text_rows(one: DataSet, rows: Iterable[int], why: str = "") -> list[SuspectRow]:
    """Rows with the same wrong with them."""
    return [text_row(one, row, why) for row in list(rows)[:MOST_ROWS]]


def copies(rule: Rule, seen: Data) -> Iterator[Finding]:
    """Texts that stand in the first set more than once, in other rows, but for case and spacing."""
    texts = seen.train.texts
    if texts is not None and texts.alike:
        yield _near(rule, seen.train, texts)
    if texts is None or not texts.same:
        return
    count, total = sum(len(group) - 1 for group in texts.same), len(texts.values)
    rows = [text_row(seen.train, row, f"the same text as row {group[0]}") for group in texts.same for row in group[1:]]
    column = texts.column
    yield rule.finding(
        f"{count:,} of {total:,} texts of {named(column)} {_repeat(count)} another row's",
        severity=Severity.WARNING if count >= FEW * total else Severity.NOTE,
        sureness=Sureness.CERTAIN,
        place=Place(file=seen.train.name, columns=(column,)),
        evidence=[
            Evidence(
                "texts of several words that are equal but for case, spacing and marks",
                f"{count:,} ({count / total:.1%})", "0", f"{texts.rows:,} rows were compared",
            )
        ],
        cause="Copies weigh a text more than others. Split at random, they fall on both sides, and a test score counts "
        "what was learned by heart.",
        fixes=[
            "Drop them before the set is split:\n"
            + code(
                f"bare = frame[{column!r}].str.lower().str.replace(r'\\W+', ' ', regex=True).str.strip()",
                "frame = frame[~bare.duplicated()]",
            )
        ],
        unless="other columns tell these rows apart, or many people say the same.",
        suspects=rows[:MOST_ROWS],
    )  # fmt: skip


def _repeat(count: int) -> str:
    return "repeats" if count == 1 else "repeat"


def _near(rule: Rule, one: DataSet, texts: TextSet) -> Finding:
    """Texts that nearly repeat another row's."""
    count, total = len(texts.alike), max(1, len(texts.values))
    return rule.finding(
        f"{count:,} of {total:,} texts of {named(texts.column)} nearly {_repeat(count)} another row's"[:72],
        severity=Severity.NOTE,
        sureness=Sureness.LIKELY,
        place=Place(file=one.name, columns=(texts.column,)),
        evidence=[
            Evidence(
                "texts that share 7 of 10 runs of three words with an earlier one",
                f"{count:,} ({count / total:.1%})", "0", f"{texts.rows:,} rows were compared",
            )
        ],
        cause="Quotations, corrected versions and templates with other names in them. Split at random, one of them is "
        "learned and the other one tests.",
        fixes=["Split by source or template, or keep one of each; they are listed by:\n" + code(_LIST)],
        unless="the split keeps what belongs together on one side, or texts of one form are what there is.",
        suspects=[text_row(one, row, f"nearly the text of row {first}") for first, row in texts.alike[:MOST_ROWS]],
    )  # fmt: skip


def near_overlap(rule: Rule, seen: Data) -> Iterator[Finding]:
    """Texts of the second set that nearly are one of the first, more than such as are alike within the first."""
    test = seen.test
    one, other = seen.train.texts, test.texts if test is not None else None
    if test is None or one is None or other is None or not other.near_known:
        return
    count, total = len(other.near_known), max(1, len(other.values))
    within = len(one.alike) / max(1, len(one.values))
    if count / total <= BY_NATURE * within:
        return
    yield rule.finding(
        f"{count:,} of {total:,} texts of the second set nearly are texts of the first"[:72],
        severity=Severity.WARNING if count >= FEW * total else Severity.NOTE,
        sureness=Sureness.LIKELY,
        place=Place(file=test.name, columns=(other.column,)),
        evidence=[
            Evidence(
                "texts that share 7 of 10 runs of three words with one of the first",
                f"{count:,} ({count / total:.1%})",
                f"{within:.1%}, as within the first set" if within else "0",
            )
        ],
        cause="The second set asks for what was learned by heart, with a word changed: its score is too good, and says "
        "little about new texts. Augmented, corrected or translated copies give this, and templates.",
        fixes=["Remove from the second set what the first one has:\n" + code(_SUSPECTS)],
        unless="texts of one form are what there is.",
        suspects=[
            text_row(test, row, f"nearly the text of row {first} of the first")
            for first, row in other.near_known[:MOST_ROWS]
        ],
    )


def overlap(rule: Rule, seen: Data, share: float) -> Iterator[Finding]:
    """Texts of the second set that the first one has; left to the comparison of rows where that has found them.

    Args:
        rule: whose findings they are.
        seen: two sets.
        share: of the second set's texts, from which on known ones are an error.
    """
    texts, test = seen.test.texts if seen.test is not None else None, seen.test
    if texts is None or test is None or not texts.known:
        return
    count, total = len(texts.known), max(1, len(texts.values))
    found = seen.overlap or Overlap()
    if 0.9 * count <= max(found.exact, found.inputs):
        return
    part = count / total
    yield rule.finding(
        f"{count:,} of {total:,} texts of the second set are in the first, too",
        severity=Severity.ERROR if part >= share else Severity.WARNING if part >= FEW else Severity.NOTE,
        sureness=Sureness.CERTAIN,
        place=Place(file=test.name, columns=(texts.column,)),
        evidence=[
            Evidence("texts that are equal but for case, spacing and marks", f"{count:,} ({part:.1%})", "0")
        ],
        cause="The second set asks for what was learned by heart: its score is too good, and says little about new "
        "texts.",
        fixes=["Remove from the second set what the first one has:\n" + code(_SUSPECTS)],
        unless="many people say the same.",
        suspects=[text_row(test, row, f"the text of row {first} of the first") for first, row in texts.known],
    )  # fmt: skip


_LIST = "stethoscope data TRAIN --suspects texts.csv"
_SUSPECTS = "stethoscope data TRAIN --test TEST --suspects texts.csv"


def a_text_set(count: int = 200, name: str = "train.csv", **facts: Any) -> DataSet:
    """A set with a column of texts, each of other length (`facts`: further ones, and columns of values)."""
    spread = np.linspace(0, 1, max(1, count))
    values = np.tile(np.array([100.0, 20, 4.5, 0.03, 0.01, 0.03, 0, 0.2, 0.1]), (count, 1))
    values[:, 0] = 80 + 80 * spread
    values[:, 1] = 15 + 15 * spread
    for key in [key for key in facts if key in PROPERTIES]:
        given = np.atleast_1d(np.asarray(facts.pop(key), np.float64))
        values[: given.size, PROPERTIES.index(key)] = given
    known: dict[str, Any] = {"column": "body", "rows": count, "values": values, "index": np.arange(count)}
    sample = Rows(np.arange(3), {"body": np.array(["One text.", "Another one.", "A third."], dtype=object)})
    return DataSet(name, Profile(count), sample, texts=replace(TextSet(), **(known | facts)))


def of_texts(count: int = 200, **facts: Any) -> Data:
    """One set with a column of texts."""
    return Data(a_text_set(count, **facts), target="label", task="classification")


def two_texts(first: DataSet, second: DataSet) -> Data:
    """Two of them."""
    return Data(first, second)
