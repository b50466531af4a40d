"""Columns with long tails, or with many zeros."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import number, only
from stethoscope.facts.data import Column, Data, Numbers
from stethoscope.facts.sentinels import without_own
from stethoscope.rules.columns import named, of_numbers, one_set
from stethoscope.rules.sites import code

NAMED = 6
LONG = 4.0
"""Half the middle 99 % / the middle half, on the longer side: 1.9 of a normal column, 4.2 of an exponential one. A
single wild value makes any moment large, and no tail long."""


class SkewedFeature(Rule):
    """The values of a column have a long tail, or are mostly 0.

    ## What it sees
    The skewness of each input column, the weight of its tails (kurtosis), and its share of zeros. A number that stands
    for nothing, such as -999, is left out: it is told by missing-values.
    ## Why it hurts
    Standardizing does not help: most values end up near 0 with differences of hundredths, and a few reach tens. The
    large ones drive the gradients, the small differences are not seen.
    ## How to fix it
    Take the logarithm (`log1p`, where there are zeros), or ranks; of a column of zeros, also whether it is 0.
    ## When it is not a fault
    Trees do not mind. It is a note: many healthy columns are skewed.
    ## Sources
    G. Box and D. Cox, "An analysis of transformations", JRSS B 1964.
    """

    severity = Severity.NOTE

    skewness = Limit(4.0, unit="third standardized moment", why="an exponential column has 2, a lognormal one 6")
    tails = Limit(50.0, unit="fourth standardized moment less 3", why="a Laplace column has 3, Student's t of 5 has 6")
    zeros = Limit(0.75, unit="share of zeros", why="counts of rare things; two values in a column of 0 and 1 are none")
    fewest_rows = Limit(100, unit="rows", why="moments of fewer hang on a single value")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge each input column of numbers."""
        if seen.train.profile.rows < self.fewest_rows:
            yield self.cannot_tell(f"there {only(seen.train.profile.rows, 'row')}")
            return
        found = [
            (column, numbers) for column in map(without_own, seen.inputs(seen.train))
            if (numbers := column.numbers) is not None and column.kind == "number" and self._is_skewed(numbers)
        ]  # fmt: skip
        if found:
            found.sort(key=lambda one: (-abs(one[1].skewness), one[0].name))
            yield self._report(seen, found)

    def _is_skewed(self, numbers: Numbers) -> bool:
        if numbers.count < self.fewest_rows or not numbers.std > 0 or numbers.distinct <= 2:
            return False
        if numbers.zeros >= self.zeros * numbers.count:
            return True
        low, first, middle, third, high = (numbers.quantile(share) for share in (0.005, 0.25, 0.5, 0.75, 0.995))
        if max(high - middle, middle - low) < LONG * (third - first):
            return False
        return abs(numbers.skewness) >= self.skewness or numbers.kurtosis >= self.tails

    def _report(self, seen: Data, found: list[tuple[Column, Numbers]]) -> Finding:
        column, numbers = found[0]
        names = tuple(one.name for one, _ in found)
        sparse = numbers.zeros >= self.zeros * numbers.count
        transform = (
            f"frame[{column.name!r}] = numpy.log1p(frame[{column.name!r}])"
            if numbers.least >= 0
            else f"frame[{column.name!r}] = numpy.arcsinh(frame[{column.name!r}] / {max(numbers.std / 10, 1e-300):.3g})"
        )
        lines = [f"frame[{column.name + ' is 0'!r}] = frame[{column.name!r}] == 0"] if sparse else []
        what = (
            f"{numbers.zeros / numbers.count:.0%} zeros"
            if sparse
            else f"a long tail (skewness {number(numbers.skewness)})"
        )
        title = f"column {named(column.name)} has {what}"
        return self.finding(
            title if len(found) == 1 else f"{len(found)} columns with long tails or mostly zeros",
            sureness=Sureness.CERTAIN,
            place=Place(file=seen.train.name, columns=names),
            evidence=[
                Evidence(
                    f"skewness of {named(one.name)} (median {number(each.quantile(0.5))}, to {number(each.greatest)})",
                    number(each.skewness),
                    f"-{self.skewness:g} to {self.skewness:g}",
                )
                for one, each in found[:NAMED]
            ],
            cause="On a common scale most of these values lie close together and a few far out: the few drive the "
            "gradients.",
            fixes=[
                f"Take {'the logarithm' if numbers.least >= 0 else 'arcsinh'} before scaling:\n"
                + code(*lines, transform)
            ],
            unless="the model is made of trees, or ranks are taken later.",
        )

    bad = Examples(lambda: {
        "a long tail": one_set(of_numbers("a", [1.05**i for i in range(600)])),
        "mostly zeros": one_set(of_numbers("a", [*[0] * 90, *range(1, 31)])),
        "three quarters": one_set(of_numbers("a", [*[0] * 75, *[i % 7 + 1 for i in range(25)]])),
        "skewness 4": one_set(of_numbers("a", [*[i / 1000 for i in range(1000)], *[4.8] * 40])),
        "heavy tails": one_set(of_numbers("a", [*[i / 1000 for i in range(-1000, 1000)], *[10.4, -10.4] * 12])),
        "a hundred rows": one_set(of_numbers("a", [*[0] * 85, *range(1, 16)])),
    })  # fmt: skip
    good = Examples(lambda: {
        "a number for nothing": one_set(of_numbers("a", [*(i / 10 for i in range(970)), *[-999.0] * 30])),
        "even": one_set(of_numbers("a", range(200))),
        "not quite skewness 4": one_set(of_numbers("a", [*[i / 1000 for i in range(1000)], *[4.6] * 40])),
        "not so heavy tails": one_set(of_numbers("a", [*[i / 1000 for i in range(-1000, 1000)], *[9.9, -9.9] * 12])),
        "0 and 1": one_set(of_numbers("a", [*[0] * 95, *[1] * 10])),
        "99 rows": one_set(of_numbers("a", [*[0] * 84, *range(1, 16)])),
        "not quite three quarters": one_set(of_numbers("a", [*[0] * 73, *[i % 7 + 1 for i in range(27)]])),
    })  # fmt: skip
