"""A scaler that was fitted on the second set, alone or together with the first."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.comparable import comparable
from stethoscope.facts.data import Data, Numbers
from stethoscope.rules.columns import named
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import bell, two_sets

CLOSE = 2e-5
"""How near to 0 and 1 a mean and a spread have to be; with many rows nearer, since chance comes nearer, too."""
FINE = 20
"""Different values of a column that can be standardized."""
MOST_NAMED = 3


class PreprocessingLeakage(Rule):
    """The scaler that prepared the two sets was fitted on rows of the second one.

    ## What it sees
    Mean and spread, smallest and largest value of each column of numbers. Numbers that are exactly 0 and 1 in the
    second set by itself, or in both sets taken together, while the training set's are not, are the trace of a scaler
    that learned from these rows. No chance gives that in most columns at once.
    ## Why it hurts
    The score is measured on rows that took part in the preparation. What sets the second set apart from the first, a
    shift that the score should show, is taken out; and a single new row cannot be prepared so.
    ## How to fix it
    Split first. Fit scalers, imputers and selectors on the training rows, and only apply them to others.
    ## When it is not a fault
    Sets that are each seen relative to themselves on purpose, such as the measurements of one person.
    ## Sources
    S. Kapoor and A. Narayanan, "Leakage and the reproducibility crisis in machine-learning-based science", 2023.
    """

    severity = Severity.WARNING
    explains = ("distribution-shift", "out-of-range-values", "embedding-shift")

    most = Limit(0.8, unit="share of the columns of numbers", why="a scaler is given all of them, or nearly")
    fewest = Limit(2, unit="columns of numbers", why="one column may come near to 0 and 1 by chance")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Look for means, spreads and ranges that only a scaler gives."""
        if seen.test is None:
            yield self.cannot_tell("there is only one data set")
            return
        columns = [
            (one.name, one.numbers, other.numbers)
            for one, other in comparable(seen)
            if one.kind == "number" and one.numbers and other.numbers and _is_fine(one.numbers, other.numbers)
        ]
        if len(columns) < self.fewest:
            yield self.cannot_tell("there are too few columns of fine numbers")
            return
        together = [name for name, one, other in columns if _standardized_together(one, other)]
        alone = [name for name, _, other in columns if _is_standard(other.mean, other.squares, other.count)]
        ranges = [name for name, _, other in columns if (other.least, other.greatest) == (0.0, 1.0)]
        for names, is_together, what in ((together, True, "mean"), (alone, False, "mean"), (ranges, False, "range")):
            if len(names) >= max(self.fewest, self.most * len(columns)):
                yield self._report(seen, names, len(columns), is_together, what)
                return

    def _report(self, seen: Data, names: list[str], of: int, together: bool, what: str) -> Finding:
        assert seen.test is not None
        which = "both sets together" if together else "the second set by itself"
        has = "mean 0 and spread 1" if what == "mean" else "the range 0 to 1"
        evidence = [Evidence(f"columns with {has} in {which}, to five digits", f"{len(names)} of {of}", "0")]
        for name in names[:MOST_NAMED]:
            one, other = (each.profile.column(name) for each in seen.sets)
            if one and other and one.numbers and other.numbers and what == "mean":
                first, second = one.numbers, other.numbers
                mean, spread = _pooled(first, second) if together else (second.mean, second.std)
                evidence.append(
                    Evidence(
                        f"mean and spread of {named(name)} in {which}", f"{_near(mean)} and {_near(spread)}",
                        f"{first.mean:.4f} and {first.std:.4f}", "in the training set",
                    )
                )  # fmt: skip
        return self.finding(
            f"the scaler was fitted on {'both sets together' if together else 'the second set by itself'}",
            sureness=Sureness.CERTAIN if what == "mean" else Sureness.LIKELY,
            place=Place(file=seen.test.name, columns=tuple(names)),
            evidence=evidence,
            cause=f"Only a scaler that learned from the rows of `{seen.test.name}` leaves {has} there, to all digits"
            + (": the table was scaled before it was split." if together else "."),
            fixes=[
                Fix(
                    "Split first, and fit on the training rows only:\n"
                    + code(
                        "train, test = train_test_split(frame)",
                        "scaler = StandardScaler().fit(train[columns])",
                        "train[columns] = scaler.transform(train[columns])",
                        "test[columns] = scaler.transform(test[columns])",
                    )
                )
            ],
            unless="each set is meant to be seen relative to itself.",
        )

    bad = Examples(lambda: {
        "the second by itself": two_sets({name: (bell(500, 0.02), _standard(300)) for name in "abc"}),
        "both together": two_sets({name: _halves(_standard(600)) for name in "abc"}),
        "ranges of 0 to 1": two_sets({name: (_range(400, 0.95), _range(300, 1.0)) for name in "abc"}),
        "two columns": two_sets({name: (bell(500, 0.02), _standard(300)) for name in "ab"}),
        "21 of 26": _mixed(21, 26),
        "20 of 25": _mixed(20, 25),
    })  # fmt: skip
    good = Examples(lambda: {
        "fitted on the training rows": two_sets({name: (_standard(500), bell(300, 0.01, 0.97)) for name in "abc"}),
        "one column": two_sets({"a": (bell(500, 0.02), _standard(300))}),
        "no scaler": two_sets({name: (bell(500, 5.0), bell(300, 5.0)) for name in "abc"}),
        "19 of 24": _mixed(19, 24),
    })  # fmt: skip


def _is_fine(one: Numbers, other: Numbers) -> bool:
    """Whether both have many values, and few of them at the ends of the range."""
    if min(one.distinct, other.distinct) < FINE or not one.std > 0 or not other.std > 0:
        return False
    ends = {other.least, other.greatest, one.least, one.greatest}
    return not any(value in ends for numbers in (one, other) for value, count in numbers.spikes if count > 2)


def _is_standard(mean: float, squares: float, count: int) -> bool:
    """Whether mean and spread are 0 and 1, with either divisor, as near as only arithmetic gives."""
    close = min(CLOSE, 0.01 / sqrt(count))
    return abs(mean) <= close and any(
        abs(sqrt(squares / divisor) - 1) <= close for divisor in (count, count - 1) if divisor > 0
    )


def _pooled(one: Numbers, other: Numbers) -> tuple[float, float]:
    """Mean and standard deviation of both together."""
    count = one.count + other.count
    mean = (one.count * one.mean + other.count * other.mean) / count
    squares = one.squares + other.squares + one.count * other.count / count * (one.mean - other.mean) ** 2
    return mean, sqrt(squares / count)


def _standardized_together(one: Numbers, other: Numbers) -> bool:
    mean, spread = _pooled(one, other)
    alone = any(_is_standard(each.mean, each.squares, each.count) for each in (one, other))
    count = one.count + other.count
    return not alone and _is_standard(mean, spread**2 * count, count)


def _near(value: float) -> str:
    return f"{value:.5f}".replace("-0.00000", "0.00000")


def _standard(rows: int) -> list[float]:
    """Numbers with mean 0 and standard deviation 1."""
    values = bell(rows)
    mean = sum(values) / rows
    spread = sqrt(sum((value - mean) ** 2 for value in values) / rows)
    return [(value - mean) / spread for value in values]


def _halves(values: list[float]) -> tuple[list[float], list[float]]:
    """The first two thirds and the others."""
    return values[: len(values) * 2 // 3], values[len(values) * 2 // 3 :]


def _range(rows: int, greatest: float) -> list[float]:
    return [greatest * i / (rows - 1) for i in range(rows)]


def _mixed(scaled: int, of: int) -> Data:
    """Two sets of which so many columns were standardized by themselves."""
    return two_sets({f"x{i}": (bell(100, 0.02), _standard(90) if i < scaled else bell(90, 0.3)) for i in range(of)})
