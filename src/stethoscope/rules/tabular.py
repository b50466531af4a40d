"""What tables say to rules that are seen while training as well: the eyes for data of those whose files are full."""

from __future__ import annotations

import numpy as np

from stethoscope.core.finding import Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.core.text import number
from stethoscope.facts.data import Column, Data, Numbers, Order
from stethoscope.rules.columns import classes_of, named
from stethoscope.rules.sites import code


def numeric_inputs(seen: Data) -> list[tuple[Column, Numbers]]:
    """The input columns of numbers that vary."""
    return [
        (column, column.numbers)
        for column in seen.inputs(seen.train)
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
