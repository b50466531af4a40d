"""What tables say to rules that are seen while training as well: the eyes for data of those whose files are full."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.core.text import number
from stethoscope.facts.data import Column, Data, Numbers, Order
from stethoscope.facts.sentinels import without_own
from stethoscope.rules.columns import classes_of, named, of_numbers, of_words, one_set
from stethoscope.rules.sites import code

SORTED = 0.98
"""Rank correlation with the place of the row, from which on rows are sorted by a column, as by time or a number."""
COUNTING = 0.9
"""Different values / rows of whole numbers, from which on they number the rows; and how nearly even they then lie."""
MOST_NAMED = 5


def numeric_inputs(seen: Data) -> list[tuple[Column, Numbers]]:
    """The input columns of numbers that vary, without numbers that stand for nothing."""
    return [
        (column, column.numbers)
        for column in map(without_own, seen.inputs(seen.train))
        if column.kind == "number" and column.numbers is not None and column.numbers.std > 0
    ]


def unequal_scales(rule: Rule, seen: Data, times: float) -> Finding | None:
    """Columns some of which are many times as wide as the middle one, or as narrow."""
    columns = numeric_inputs(seen)
    if len(columns) < 2:
        return None
    spreads = np.array([numbers.std for _, numbers in columns])
    middle = float(np.median(spreads))
    widest = int(spreads.argmax())
    if not spreads[widest] >= times * middle > 0:
        return None
    column, numbers = columns[widest]
    return rule.finding(
        f"column {named(column.name)} is {spreads[widest] / middle:,.0f} times as wide as the middle one",
        severity=Severity.NOTE,
        sureness=Sureness.CERTAIN,
        place=Place(file=seen.train.name, columns=(column.name,)),
        evidence=[
            Evidence(
                f"spread of {named(column.name)} / of the middle one of {len(columns)} columns",
                f"{number(float(spreads[widest]))} / {number(middle)} = {spreads[widest] / middle:,.0f}",
                "1 to 2, as a network gets them",
            ),
            Evidence(f"range of {named(column.name)}", f"{number(numbers.least)} to {number(numbers.greatest)}", "±3"),
        ],
        cause="As they are stored, the columns differ much in scale. Given to a network like that, the widest drives "
        "all units and gradients.",
        fixes=[
            "Scale them with the training set's means and spreads, before a network gets them:\n"
            + code("scaler = StandardScaler().fit(train_inputs)", "inputs = scaler.transform(inputs)")
        ],
        unless="they are scaled later, in a pipeline or in the model.",
    )


def order_of_rows(rule: Rule, seen: Data, mixing: float, drifting: float) -> Iterator[Finding | CannotTell]:
    """What the order says in which rows are stored.

    Args:
        rule: whose findings they are.
        seen: the data.
        mixing: share of the expected stretches of equal labels, up to which labels lie in blocks.
        drifting: rank correlation with the place of the row, from which on a column is told.
    """
    order = seen.train.order
    found = None
    if order is not None:  # columns that tell the label drift with it
        found = blocks_of_labels(rule, seen, order, mixing) or _drift(rule, seen, order, drifting)
    if found is not None:
        yield found
    elif order is None or not order.runs:
        yield rule.cannot_tell("there is no target with classes, and no column of numbers drifts along the rows")


def _drift(rule: Rule, seen: Data, order: Order, least: float) -> Finding | None:
    """Columns that change from the first row to the last; those by which rows are sorted, as by time, are no news."""
    inputs = {
        column.name
        for column in seen.inputs(seen.train)
        if column.kind == "number" and column.numbers is not None and not _numbers_rows(column.numbers)
    }
    found = [(name, by) for name, by in order.drift if least <= abs(by) < SORTED and name in inputs]
    if not found:
        return None
    name, by = found[0]
    many = f"{len(found)} columns drift along the rows, most {named(name)}"
    return rule.finding(
        f"column {named(name)} drifts along the rows: rank correlation {by:.2f}" if len(found) == 1 else many,
        severity=Severity.NOTE,
        sureness=Sureness.CERTAIN,
        place=Place(file=seen.train.name, columns=tuple(each for each, _ in found)),
        evidence=[
            Evidence(f"rank correlation of {named(each)} with the place of its row", f"{so_much:.2f}", "about 0",
                     "in a shuffled order")
            for each, so_much in found[:MOST_NAMED]
        ],
        cause="Rows are stored as they came, or sorted by something that goes with these columns. Batches in this "
        "order differ from each other, and a split that takes the last rows tests on other values.",
        fixes=[
            "Shuffle the rows; where the order is time and new data come later, split by it instead:\n"
            + code("frame = frame.sample(frac=1, random_state=0)")
        ],
        unless="rows are shuffled when they are read, or the order is one of time that a forecast needs.",
    )  # fmt: skip


def _numbers_rows(numbers: Numbers) -> bool:
    """Whether a column counts rows: whole numbers that hardly repeat; of very many, that fill their range evenly."""
    if numbers.whole < numbers.count:
        return False
    if numbers.distinct_is_exact:
        return numbers.distinct >= COUNTING * numbers.count
    return abs(numbers.std * 12**0.5 / (numbers.greatest - numbers.least) - 1) <= 1 - COUNTING


def stored(runs: int = 0, drift: float = 0.0) -> Data:
    """A file of three classes whose labels lie in so many stretches, of 100 expected; and a column that drifts."""
    columns = of_numbers("a", [i / 7 for i in range(150)]), of_words("y", {"x": 50, "y": 50, "z": 50})
    order = Order(runs, 100.0, 6.0, (("a", drift),))
    return one_set(*columns, target="y", task="classification", order=order)


def blocks_of_labels(rule: Rule, seen: Data, order: Order, share: float) -> Finding | None:
    """Labels that lie in blocks, in the order in which the rows are stored."""
    if not order.runs or not order.expected_runs > 0 or order.runs >= share * order.expected_runs:
        return None
    few = len(classes_of(seen.train.profile.column(seen.target)))
    lie = "are sorted" if order.runs <= 2 * few else "lie in blocks"
    return rule.finding(
        f"rows {lie} by {named(seen.target)}: {order.runs:,} stretches of equal labels",
        severity=Severity.NOTE,
        sureness=Sureness.CERTAIN,
        place=Place(file=seen.train.name, columns=(seen.target,)),
        evidence=[
            Evidence(
                "stretches of equal labels along the rows (of the sample)",
                f"{order.runs:,}",
                f"about {order.expected_runs:,.0f} (± {2 * order.spread:.0f}) in a shuffled order",
            )
        ],
        cause="Read in this order, a network sees one class for many batches and then another. A split that takes the "
        "last rows for a test set takes other classes.",
        fixes=["Shuffle before splitting, and in training:\n" + code("DataLoader(dataset, shuffle=True)")],
        unless="rows are shuffled when they are read.",
    )
