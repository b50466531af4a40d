"""Values, and rows, far from all others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import amount, number, only
from stethoscope.facts.comparable import comparable
from stethoscope.facts.data import Column, Data, DataSet, Numbers, Suspect
from stethoscope.facts.sentinels import SENTINELS
from stethoscope.rules.columns import named, of_numbers, one_set, row_of, taken
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import two_sets

NAMED = 5
TAIL = 0.1
"""Share of the rows that the tail of a column is judged by."""


Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Isolated:
    """Values that lie far beyond the others, on one side."""

    column: str
    rows: int
    value: float
    """The furthest."""
    edge: float
    """Where the others end."""
    usual: tuple[float, float]
    """Between which the middle 98 % lie."""


class Outliers(Rule):
    """A few values of a column lie far beyond all others, or a few rows are unlike all others.

    ## What it sees
    A gap: beyond the last of the others nothing, and then, far away, a few values, further than the tail of the others
    would ever reach at the pace at which it thins out. Long tails have no such gap. And, as a note, rows whose nearest
    neighbours are many times as far as is usual, and values that the other columns of their row contradict (45 kg at
    1.90 m): what a line through the ranks of the others leaves of them lies beyond such a gap. Of a second set: values
    beyond such a gap from those of both.
    ## Why it hurts
    Most often it is a slip (a decimal point, grams for kilograms, an error code). One such value sets the mean and the
    spread of a scaler, squeezes all others together, and by a squared loss outweighs thousands of them.
    ## How to fix it
    Look at the rows. Correct what is wrong, clip what is right and rare, or take the logarithm.
    ## When it is not a fault
    Where the rare and large is what it is all about: fraud, failures, catastrophes.
    ## Sources
    B. Hill, "A Simple General Approach to Inference About the Tail of a Distribution", Annals of Statistics 1975.
    S. Ramaswamy, R. Rastogi, K. Shim, "Efficient Algorithms for Mining Outliers", SIGMOD 2000.
    """

    severity = Severity.WARNING
    explains = ("out-of-range-values",)
    in_batches = True

    chance = Limit(
        1e-5,
        unit="chance of such a gap, were the tail to go on as it does",
        why="thirty columns with two ends each: a false alarm in a thousand reports",
    )
    far = Limit(
        50.0,
        unit="distance from the median / that of the last of the others",
        why="a Pareto column of index 2.2 leaves such a gap once in 5,000 times; in small sets no tail is known better",
    )
    few = Limit(0.005, unit="share of the rows", why="more than that are a group of their own")
    fewest_others = Limit(
        10,
        unit="rows apart from the median, on its side",
        why="where nearly all rows hold one value, a few others are a rare case and no slip",
    )
    fewest_rows = Limit(50, unit="rows", why="in fewer the range of the others is not known")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Look for gaps in each column, and tell of far rows."""
        if seen.train.profile.rows < self.fewest_rows:
            yield self.cannot_tell(f"there {only(seen.train.profile.rows, 'row')}")
            return
        found = [one for column in seen.inputs(seen.train) for one in self.isolated(column)]
        if found:
            yield self._values(seen, seen.train, sorted(found, key=lambda one: one.column))
        if seen.train.contradicted:
            yield self._contradicted(seen)
        if seen.train.outliers:
            yield self._rows(seen)
        if seen.test is not None:
            new = [one for pair in comparable(seen) for one in self._beyond_both(*pair)]
            if new:
                yield self._values(seen, seen.test, sorted(new, key=lambda one: one.column))

    def isolated(self, column: Column) -> Iterator[Isolated]:
        """What lies beyond a gap at either end of a column."""
        numbers = column.numbers
        if numbers is None or column.kind != "number" or numbers.count < self.fewest_rows:
            return
        for side in (1, -1):
            if (one := self._side(column.name, numbers, side)) is not None:
                yield one

    def _beyond_both(self, one: Column, other: Column) -> Iterator[Isolated]:
        """What only the second set has beyond a gap at either end of a column, seen from the values of both sets."""
        first, second = one.numbers, other.numbers
        if first is None or second is None or one.kind != "number" or first.grid != second.grid:
            return
        if first.count < self.fewest_rows or first.counts.size != second.counts.size:
            return
        both = replace(
            first, count=first.count + second.count, least=min(first.least, second.least), values=(), spikes=(),
            greatest=max(first.greatest, second.greatest), whole=first.whole + second.whole,
            counts=first.counts + second.counts,
        )  # fmt: skip
        for side, is_new in ((1, second.greatest > first.greatest), (-1, second.least < first.least)):
            found = self._side(one.name, both, side) if is_new else None
            edge = (first.greatest if side > 0 else -first.least) if found is not None else 0.0
            if found is not None and edge <= side * found.edge:
                yield found

    def _side(self, name: str, numbers: Numbers, side: int) -> Isolated | None:
        """What lies beyond a gap at the upper (1) or lower (-1) end, with distances from the median."""
        extreme = numbers.greatest if side > 0 else numbers.least
        if extreme in SENTINELS:
            return None
        median = numbers.quantile(0.5)
        counts, near, far = _distances(numbers, median, side)
        if numbers.whole == numbers.count:
            far = np.maximum(far, 1.0)  # between counts of things, one is the least step and no gap
        beyond, others = counts[::-1].cumsum()[::-1], counts.cumsum()
        start_at = np.where(beyond == 1, abs(extreme - median), near)
        is_gap = (beyond <= max(1, self.few * numbers.count)) & (others - counts - counts[:1] >= self.fewest_others)
        is_gap[1:] &= (far[:-1] > 0) & (start_at[1:] > 2 * far[:-1])
        for place in np.flatnonzero(is_gap[1:])[::-1] + 1:
            start = float(start_at[place])
            slope = _tail(counts[:place], far[:place], numbers.count)
            times = start / far[place - 1]
            if times >= self.far or slope * beyond[place] * log(times) >= -log(self.chance):
                usual = numbers.quantile(0.01), numbers.quantile(0.99)
                return Isolated(name, int(beyond[place]), extreme, float(median + side * far[place - 1]), usual)
        return None

    def _values(self, seen: Data, data: DataSet, found: list[Isolated]) -> Finding:
        one = max(found, key=lambda some: abs(some.value - some.edge) / (abs(some.usual[1] - some.usual[0]) or 1))
        rows = tuple(
            SuspectRow(data.name, row, row_of(data.sample, row, each.column), f"{each.column} is far out")
            for each in found
            for row in _rows_with(data, each)
        )
        names = tuple(dict.fromkeys(each.column for each in found))
        values = taken(seen, one.column)
        where = f"column {named(one.column)}" if len(names) == 1 else f"{len(names)} columns, {named(one.column)} first"
        return self.finding(
            f"{amount(sum(each.rows for each in found), 'value')} far beyond all others in {where}"[:72],
            sureness=Sureness.LIKELY,
            place=Place(file=data.name, columns=names),
            evidence=[
                Evidence(
                    f"furthest value of {named(each.column)} ({each.rows:,} beyond the gap)",
                    number(each.value),
                    f"{number(each.usual[0])} to {number(each.usual[1])}, as 98 % of the others",
                )
                for each in found[:NAMED]
            ],
            cause="Between them and all other values nothing lies, over several times the range of the others: most "
            "often a slip, a unit, or an error code. They set the scale for a scaler, and the loss by themselves.",
            fixes=[
                "Look at these rows; where the values are wrong, correct them or take them for missing, else clip:\n"
                + code(f"{values} = {values}.clip({one.usual[0]:.6g}, {one.usual[1]:.6g})")
            ],
            unless="the rare and large values are what it is all about.",
            suspects=rows,
        )

    def _contradicted(self, seen: Data) -> Finding:
        found = seen.train.contradicted
        return self.finding(
            f"{amount(len(found), 'row')} with a value that the other columns contradict",
            severity=Severity.NOTE,
            sureness=Sureness.POSSIBLE,
            place=Place(file=seen.train.name, rows=tuple(one.row for one in found)),
            evidence=[
                Evidence(f"row {one.row:,}", one.given, one.better, "by what the other columns say of it")
                for one in found[:NAMED]
            ],
            cause="By itself each value is like others, and together they are not: what is left of it once the other "
            "columns have told what they can lies beyond a gap. A slip, or values of two rows in one, give this.",
            fixes=["Look at them before training:\n" + code("stethoscope data TRAIN --suspects rows.csv")],
            unless="rare cases are expected.",
            suspects=[
                SuspectRow(
                    seen.train.name,
                    one.row,
                    row_of(seen.train.sample, one.row),
                    f"{one.given}, {one.better}",
                    one.score,
                )
                for one in found
            ],
        )

    def _rows(self, seen: Data) -> Finding:
        worst = seen.train.outliers[0]
        return self.finding(
            f"{amount(len(seen.train.outliers), 'row')} unlike all others in several columns at once",
            severity=Severity.NOTE,
            sureness=Sureness.POSSIBLE,
            place=Place(file=seen.train.name, rows=tuple(one.row for one in seen.train.outliers)),
            evidence=[
                Evidence("distance to the tenth neighbour / the usual one", f"{1 / worst.score - 1:.1f}", "below 4"),
            ],
            cause="No other rows are near them. Some are slips, others rare cases that a model sees once.",
            fixes=["Look at them before training:\n" + code("stethoscope data TRAIN --suspects rows.csv")],
            unless="rare cases are expected.",
            suspects=[
                SuspectRow(seen.train.name, one.row, row_of(seen.train.sample, one.row), "", one.score)
                for one in seen.train.outliers
            ],
        )

    bad = Examples(lambda: {
        "a slip of the point": one_set(of_numbers("height", [*(1.5 + i / 200 for i in range(100)), 178.0])),
        "below": one_set(of_numbers("a", [*(i / 10 for i in range(100)), -5000.0])),
        "ten others": one_set(of_numbers("pool", [*[0] * 989, *range(1, 11), 9000])),
        "beyond its tail": one_set(of_numbers("a", [*range(1001), 2682.0])),
        "fifty times as far": one_set(of_numbers("a", [*range(50), 1280.0])),
        "five of a thousand": one_set(of_numbers("a", [*range(995), *[9000.0 + i for i in range(5)]])),
        "a slip in the second set": two_sets({"a": (_halves(200), [*_halves(120), 9000.0])}),
        "fifty rows": one_set(of_numbers("a", [*range(49), 9000.0])),
        "rows": one_set(of_numbers("a", range(100)), outliers=(Suspect(7, 0.1),)),
        "contradicted": one_set(
            of_numbers("a", range(100)), contradicted=(Suspect(7, 0.1, "weight 45", "about 82"),)
        ),
    })  # fmt: skip
    good = Examples(lambda: {
        "none": one_set(of_numbers("a", range(100))),
        "no others": one_set(of_numbers("pool", [*[0] * 990, *range(1, 10), 9000])),
        "seldom two": one_set(of_numbers("a", [*[0] * 900, *[1] * 97, 2, 3, 5])),
        "a long smooth tail": one_set(of_numbers("a", [1.05**i for i in range(300)])),
        "not quite beyond its tail": one_set(of_numbers("a", [*range(1001), 2672.0])),
        "not quite as far": one_set(of_numbers("a", [*range(50), 1220.0])),
        "a group of their own": one_set(of_numbers("a", [*range(990), *[9000.0 + i for i in range(6)]])),
        "just too many": one_set(of_numbers("a", [*range(4974), *[90000.0 + i for i in range(26)]])),
        "as in the first": two_sets({"a": ([*_halves(990), *[9e3 + i for i in range(6)]], [*_halves(120), 9003.0])}),
        "a long tail of both": two_sets({"a": ([1.05**i for i in range(300)], [1.05**i for i in range(305)])}),
        "few rows": one_set(of_numbers("a", [*range(48), 9000.0])),
    })  # fmt: skip


def _suspect(seen: Data, one: Suspect) -> SuspectRow:
    cells = row_of(seen.train.sample, one.row)
    return SuspectRow(seen.train.name, one.row, cells, f"{one.given}, {one.better}", one.score)


def _halves(count: int) -> list[float]:
    """0, 0.5, 1, ...: numbers that count nothing."""
    return [i / 2 for i in range(count)]


def _distances(numbers: Numbers, median: float, side: int) -> tuple[Doubles, Doubles, Doubles]:
    """Of the filled bins on one side of the median: counts, distance of the nearer edge, and of the further one."""
    edges = np.concatenate([[numbers.least], numbers.grid.edges(), [numbers.greatest]])
    edges = np.clip(edges, numbers.least, numbers.greatest)
    ends = side * (edges - median)
    near, far = (ends[:-1], ends[1:]) if side > 0 else (ends[1:], ends[:-1])
    use = np.flatnonzero((numbers.counts > 0) & (far > 0))[::side]
    return numbers.counts[use].astype(np.float64), near[use], far[use]


def _tail(counts: Doubles, distances: Doubles, rows: int) -> float:
    """A low estimate of how fast the tail falls: the power of the distance, of Hill (1975), of the outer tenth.

    It is 2.2 for a Pareto column of that index, 4 and more for a normal one; less two of its standard errors.
    """
    outer = counts[::-1].cumsum()[::-1] <= max(TAIL * rows, counts[-1] if counts.size else 0)
    weights, far = counts[outer], distances[outer]
    total = float(weights.sum())
    if far.size < 2 or not far[0] > 0:
        return 0.0
    spread = float(weights @ np.log(far / far[0])) / total
    return max(0.0, 1 - 2 / np.sqrt(total)) / spread if spread > 0 else 0.0


def _rows_with(data: DataSet, one: Isolated) -> list[int]:
    """Rows of the sample with values beyond the gap."""
    values = data.sample.values.get(one.column)
    if values is None or values.dtype == object:
        return []
    numbers = np.asarray(values, np.float64)
    beyond = numbers > one.edge if one.value > one.edge else numbers < one.edge
    return [int(row) for row in data.sample.index[beyond & np.isfinite(numbers)]]
