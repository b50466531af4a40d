"""Values that are missing, under whatever name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import amount
from stethoscope.facts.data import Column, Data, DataSet
from stethoscope.facts.sentinels import Tells, sentinel_beside, sentinel_of
from stethoscope.rules.columns import days, named, of_numbers, of_words, one_set
from stethoscope.rules.filled import defaults, zeros
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import beside, column, two_sets

ANSWERS = ("none", "unknown", "missing", "not applicable", "unspecified", "not specified", "not known")
"""Spellings of nothing that are words: as often they are one of the values."""
NAMED = 5
"""Columns that are named in the evidence."""


@dataclass(frozen=True)
class Gap:
    """A column with missing values."""

    column: Column
    rows: int
    """Without a value, sentinels among them."""
    spellings: tuple[str, ...]
    """How they are written: `null`, `""`, `N/A`, `-999`, `infinite`."""
    sentinel: float | None = None
    written: str = ""
    """The sentinel as a person writes it: `-999`, `1900-01-01`."""
    infinite: int = 0
    """Rows whose number is infinite, which a division by zero leaves; they are among `rows`."""

    @property
    def share(self) -> float:
        """0..1."""
        return self.rows / self.column.rows

    @property
    def is_mixed(self) -> bool:
        """Whether nothing is written in several ways; words that may be answers (no hair, an unknown cause) aside."""
        return sum(one.strip("'").strip().lower() not in ANSWERS for one in self.spellings) > 1


class MissingValues(Rule):
    """Values are missing: null, NaN, or a word or a number that stands for nothing.

    ## What it sees
    Null and NaN; the spellings of nothing that people use ("", `N/A`, `null`, `?`, `TBD`, `[deleted]`); and single
    numbers that are typical of it, such as -999, far from all others, where they make up at least a hundredth of a
    column; infinite numbers. Nearer to the others such a number must lie by itself (99 among ages up to 80), or be the
    only negative one (-1 among ages). So it is with days like 1900-01-01, 1970-01-01 and 9999-12-31, which lie apart
    from all other dates, or are far more frequent than each of them.
    A target with missing values is an error, a column with many of them or with several spellings a warning, few a
    note; so is a column that is empty in most rows, which most often is meant to be; a 0 among amounts that never come
    near it; and a word or text that many rows share where nearly all others have one of their own.

    Of a second set what the first one does not have: a number that stands for nothing, and rows without a target where
    others have one. Other spellings, and more missing values, are told by inconsistent-preprocessing and
    missing-values-rise.
    ## Why it hurts
    NaN passes through every layer: one of them in a batch makes the loss and then all weights NaN. A sentinel
    number is worse, since nothing fails: the network takes -999 for a measurement, and a scaler for the range.
    ## How to fix it
    Read all spellings as missing. Then fill them in (the median of the training set, and a column that says that it was
    missing), or drop the rows where they are few.
    ## When it is not a fault
    Where missing has a meaning of its own (no second phone number), and the model is told so.
    ## Sources
    D. Rubin, "Inference and missing data", Biometrika 1976. J. Josse et al., "On the consistency of supervised
    learning with missing values", 2019.
    """

    severity = Severity.WARNING
    in_batches = True

    much = Limit(0.05, unit="share of a column", why="beyond a twentieth, how they are filled in begins to matter")
    fewest = Limit(20, unit="rows of a column", why="of 200 rows in which 3 % are missing, 10 may be so by chance")
    optional = Limit(
        0.5,
        unit="share of a column",
        why="what is filled in for a minority is most often optional by design, as a second phone number is",
    )
    sentinel = Limit(0.01, unit="share of a column that is one odd number", why="a single -999 may be a slip")
    apart = Limit(
        3.0,
        unit="distance of a sentinel from the next value / range of the others",
        why="-1 beside values of 0 to 1 may be one of them, -999 beside ages is not",
    )
    fewest_alike = Limit(10, unit="rows with one odd number", why="nearer to the others a few may be true values")
    alone = Limit(
        0.25,
        unit="distance of such a number, or date, from the next value / range of the others",
        why="99 beside ages of 18 to 80 stands alone; in a tail values follow each other more closely",
    )
    spike = Limit(
        3.0,
        unit="rows with the only negative number / with the next value",
        why="counts less one have -1 as well, and hardly more often than 0",
    )
    often = Limit(
        10.0,
        unit="rows with one day, or text / with the next most frequent one",
        why="in days of birth the most frequent one comes twice as often as the next at most",
    )
    zero = Limit(
        1.0,
        unit="distance of 0 from the next value / width of the middle half of the others",
        why="a weight of 0 beside those of 45 kg and more is none; a price of 0 may be one",
    )
    own = Limit(
        0.5, unit="share of the rows with a text of their own", why="below, a frequent value is one of the categories"
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge each column of the training set, and what is new in the second one."""
        gaps = [gap for column in seen.train.profile.columns if (gap := self.gap(column)) is not None]
        yield from self._told(seen, seen.train, gaps)
        target = seen.train.profile.column(seen.target) if seen.target else None
        if target is not None and target.kind == "empty" and target.rows:
            yield self._no_target(seen, target)
        yield from zeros(self, seen, self._tells(), self.zero)
        yield from defaults(self, seen, self._tells(), self.own)
        if seen.test is not None:
            new = [gap for column in seen.test.profile.columns if (gap := self._new(seen, column)) is not None]
            yield from self._told(seen, seen.test, new)

    def _told(self, seen: Data, one: DataSet, gaps: list[Gap]) -> Iterator[Finding]:
        target = next((gap for gap in gaps if gap.column.name == seen.target), None)
        if target is not None:
            yield self._target(seen, one, target)
        gaps = sorted((gap for gap in gaps if gap is not target), key=lambda gap: (-gap.share, gap.column.name))
        if gaps:
            yield self._report(seen, one, gaps)

    def _new(self, seen: Data, column: Column) -> Gap | None:
        """What a column of the second set lacks in a way that the first set's does not."""
        before, gap = seen.train.profile.column(column.name), self.gap(column)
        if before is None or gap is None:
            return None
        if column.name == seen.target:
            return gap if self.gap(before) is None else None  # without any target it is for prediction
        found = sentinel_beside(before, column, self._tells())
        return None if found is None else Gap(column, found.rows, (found.written,), found.value, found.written)

    def _tells(self) -> Tells:
        return Tells(self.sentinel, self.apart, self.fewest_alike, self.alone, self.spike, self.often)

    def gap(self, column: Column) -> Gap | None:
        """What a column lacks; None where it lacks nothing."""
        if column.kind in ("empty", "nested") or not column.rows:
            return None
        infinite = 0
        spellings = ["null"] if column.nulls else []
        rows, sentinel = column.missing, None
        if column.words is not None:
            spellings += [repr(text) for text, _ in column.words.missing]
        if column.numbers is not None:
            found = sentinel_of(column, self._tells())
            if found is not None:
                sentinel, rows = found.value, rows + found.rows
                spellings.append(found.written)
            if column.kind == "number" and (infinite := column.numbers.infinite):
                rows += infinite
                spellings.append("infinite")
        written = "" if sentinel is None else spellings[-1 - bool(infinite)]
        return Gap(column, rows, tuple(spellings), sentinel, written, infinite) if rows else None

    def _are_many(self, gap: Gap) -> bool:
        return self.much <= gap.share < self.optional and gap.rows >= self.fewest

    def _target(self, seen: Data, one: DataSet, gap: Gap) -> Finding:
        name, rows = named(gap.column.name), amount(gap.rows, "row")
        is_first, frame = one is seen.train, _frame(seen, one)
        return self.finding(
            f"the target {name} is missing in {rows}" if is_first else f"{name} is missing in {rows} of the second set",
            severity=Severity.ERROR,
            sureness=Sureness.CERTAIN,
            place=Place(file=one.name, columns=(gap.column.name,)),
            evidence=[Evidence(f"rows without {name} ({', '.join(gap.spellings)})", f"{gap.rows:,}", "0")],
            cause="A row without a target cannot be learned from: its loss is NaN, or its label is a class of its own."
            if is_first
            else "A row without a target measures nothing: the score is NaN, or counts it as an error.",
            fixes=["Leave these rows out:\n" + code(f"{frame} = {frame}.dropna(subset=[{gap.column.name!r}])")],
            unless="these rows are meant for prediction only, or to have none is an answer of its own: give it a name.",
        )

    def _no_target(self, seen: Data, target: Column) -> Finding:
        name = named(target.name)
        return self.finding(
            f"the target {name} is missing in all rows",
            severity=Severity.ERROR,
            sureness=Sureness.CERTAIN,
            place=Place(file=seen.train.name, columns=(target.name,)),
            evidence=[Evidence(f"rows with a value of {name}", f"0 of {target.rows:,}", f"{target.rows:,}")],
            cause="There is nothing to learn. Most often a join found no partners, or a column was read under another "
            "name than it was written.",
            fixes=["Find out where its values were lost, or name the column that has them with `--target`."],
            unless="these rows are meant for prediction only.",
        )

    def _report(self, seen: Data, one: DataSet, gaps: list[Gap]) -> Finding:
        odd = [gap for gap in gaps if gap.sentinel is not None or gap.is_mixed or gap.infinite]
        many = [gap for gap in gaps if self._are_many(gap) and gap not in odd]
        severity = Severity.WARNING if many or odd else Severity.NOTE
        worst = (many or gaps)[0]
        title = f"{worst.share:.1%} of column {named(worst.column.name)} is missing"
        if len(gaps) > 1:
            title = f"values are missing in {len(gaps)} columns, {worst.share:.1%} of {named(worst.column.name)}"
        coded = [gap for gap in odd if gap.sentinel is not None]
        if coded:
            odd.sort(key=lambda gap: gap.sentinel is None)
            name = named(odd[0].column.name)
            title = f"column {name} has {odd[0].written} where a value is missing"
            if one is not seen.train:
                title = f"{name} has {odd[0].written} for missing in the second set"
            if len(coded) > 1:
                what = "numbers" if all(gap.column.kind == "number" for gap in coded) else "values"
                title = f"{len(coded)} columns have {what} for nothing, first {name}"
        elif odd and odd[0].infinite:
            title = f"column {named(odd[0].column.name)} is infinite in {amount(odd[0].infinite, 'row')}"
        elif odd:
            ways = len(odd[0].spellings)
            title = f"column {named(odd[0].column.name)} writes missing values in {ways} ways"
            if len(odd) > 1:
                title = f"{len(odd)} columns write nothing in several ways, first {named(odd[0].column.name)}"
        any_infinite = any(gap.infinite for gap in gaps)
        shown = [*odd, *many, *(gap for gap in gaps if gap not in odd and gap not in many)][:NAMED]
        return self.finding(
            title,
            severity=severity,
            sureness=Sureness.LIKELY if odd else Sureness.CERTAIN,
            place=Place(file=one.name, columns=tuple(gap.column.name for gap in gaps)),
            evidence=[
                Evidence(
                    f"rows without {named(gap.column.name)}, written as {', '.join(gap.spellings)}",
                    f"{gap.rows:,} ({gap.share:.1%})",
                    "0",
                    "" if one is seen.train else f"as in {seen.train.name}",
                )
                for gap in shown
            ],
            cause="A NaN among the inputs makes the loss NaN, and then all weights"
            + (", and so does an infinite number, which a division by zero leaves" if any_infinite else "")
            + ". A number or a word that stands for nothing is taken for a value.",
            fixes=_fixes_of_inputs(shown) if seen.is_fed else _fixes(shown, _frame(seen, one)),
            unless="missing has a meaning of its own here, and the model is told of it.",
        )

    bad = Examples(lambda: {
        "many nulls": one_set(of_words("a", {"x": 60, "y": 30}, nulls=10)),
        "twenty rows": one_set(of_words("a", {"x": 100, "y": 80}, nulls=20)),
        "nineteen rows": one_set(of_words("a", {"x": 100, "y": 81}, nulls=19)),
        "a twentieth": one_set(of_words("a", {"x": 600, "y": 350}, nulls=50)),
        "not quite half": one_set(of_words("a", {"x": 300, "y": 210}, nulls=490)),
        "half": one_set(of_words("a", {"x": 300, "y": 200}, nulls=500)),
        "by design": one_set(of_words("a", {"x": 30, "y": 20}, nulls=450)),
        "no hair": one_set(of_words("hair", {"red": 95, "none": 4}, nulls=1, missing=(("none", 4),))),
        "not quite a twentieth": one_set(of_words("a", {"x": 500, "y": 452}, nulls=48)),
        "few": one_set(of_words("a", {"x": 996, "y": 400}, nulls=3)),
        "two spellings": one_set(of_words("a", {"x": 990, "N/A": 5}, nulls=5, missing=(("N/A", 5),))),
        "minus 999": one_set(of_numbers("age", [*range(20, 80), -999, -999])),
        "two years, and minus 1": one_set(of_numbers("year", [*[2019, 2020] * 45, *[-1] * 10])),
        "a hundredth": one_set(of_numbers("age", [*[20 + i % 50 for i in range(198)], -999, -999])),
        "the target": one_set(of_words("y", {"a": 50, "b": 49}, nulls=1), target="y"),
        "no target at all": one_set(of_words("y", {}, nulls=50), of_words("a", {"x": 30, "y": 20}), target="y"),
        "one infinite": one_set(of_numbers("a", [*range(99), float("inf")])),
        "minus 999 in the second set": two_sets({"age": (range(20, 80), [*range(20, 80), -999, -999])}),
        "a hundredth of the second set": two_sets(
            {"age": (range(20, 80), [*[20 + i % 50 for i in range(198)], -999, -999])}
        ),
        "a second set without some targets": beside(
            [column("y", {"a": 50, "b": 50})], [column("y", {"a": 50, "b": 49}, nulls=1)], target="y"
        ),
        "minus 1 among ages": one_set(of_numbers("age", [*_ages(500), *[-1] * 10])),
        "minus 1 below many zeros": one_set(of_numbers("visits", [*_visits(), *[-1] * 305])),
        "99 among ages": one_set(of_numbers("age", [*_ages(500), *[99] * 10])),
        "99, just alone": one_set(of_numbers("a", [*[i % 80 for i in range(800)], *[99] * 12])),
        "weights of 0": one_set(of_numbers("kg", [*[50 + i % 95 for i in range(475)], *[0] * 12])),
        "weights of 0, next to others": one_set(of_numbers("kg", [*_weights(51), *[0] * 12])),
        "ages of 0": one_set(of_numbers("age", [*_ages(500), *[0] * 10])),
        "a day among days of birth": one_set(days("born", ["1970-01-01"] * 12, 1930, 400)),
        "days of birth": one_set(days("born", ["1900-01-01"] * 12, 1930, 400)),
        "a day among many before it": one_set(days("seen", ["1970-01-01"] * 12, 1971, 900)),
        "the end of time": one_set(days("until", ["9999-12-31"] * 300, 2020, 400)),
        "no address": one_set(of_words("mail", {"none@example.com": 40, **{f"m{i}": 1 for i in range(160)}})),
        "no address, next to the limits": one_set(of_words("mail", {"none@example.com": 20, **_mails(2, 10, 19)})),
        "hardly two to a mail": one_set(of_words("mail", {"none@example.com": 40, **_mails(2, 20, 1)})),
        "just apart": one_set(of_numbers("a", [*[i / 10 for i in range(318)], -99, -99, -99, -99])),
    })  # fmt: skip
    good = Examples(lambda: {
        "labels of minus 1 and 1": one_set(of_numbers("y", [-1.0, 1.0] * 100), target="y"),
        "not quite a hundredth": one_set(of_numbers("age", [*[20 + i % 50 for i in range(2030)], *[-999] * 20])),
        "minus 1 in nine rows": one_set(of_numbers("age", [*_ages(500), *[-1] * 9])),
        "counts less one": one_set(of_numbers("visits", [*_visits(), *[-1] * 295])),
        "99, not quite alone": one_set(of_numbers("a", [*[12 * (i % 68) for i in range(680)], *[999] * 12])),
        "a 0 that others come near": one_set(of_numbers("kg", [*_weights(48), *[0] * 12])),
        "no zeros to speak of": one_set(of_numbers("kg", [*[50 + i % 95 for i in range(475)], *[0] * 9])),
        "a series that begins in 1970": one_set(days("day", ["1970-01-01"], 1970, 400)),
        "as frequent as other days": one_set(days("day", ["1970-01-01"] * 12 + ["1971-06-01"] * 11, 1971, 900)),
        "not often enough": one_set(of_words("mail", {"none@example.com": 19, **_mails(2, 10, 19)})),
        "two to a mail": one_set(of_words("mail", {"none@example.com": 40, "m": 3, **_mails(2, 19, 0)})),
        "a word that is one of many": one_set(of_words("city", {"Rome": 40, **{f"m{i}": 4 for i in range(40)}})),
        "nothing missing": one_set(of_words("a", {"x": 60, "y": 40})),
        "minus 1 among others": one_set(of_numbers("a", [*[i / 50 for i in range(100)], -1, -1, -1])),
        "not quite apart": one_set(of_numbers("a", [*[i / 10 for i in range(336)], -99, -99, -99, -99])),
        "as in the first set": two_sets({"age": (range(20, 80), range(20, 80))}),
        "among the numbers of the first set": two_sets({"a": (range(-2000, 2000), [*range(60), -999, -999])}),
        "not quite apart from the first set": two_sets({"a": (range(40), [*range(10), *[-99] * 4])}),
        "a second set without targets": beside(
            [column("y", {"a": 50, "b": 50})], [column("y", {}, nulls=100)], target="y"
        ),
        "one of 200": one_set(of_numbers("age", [*[20 + i % 50 for i in range(199)], -999])),
    })  # fmt: skip


def _ages(rows: int) -> list[int]:
    """Ages of 18 to 80."""
    return [18 + i % 63 for i in range(rows)]


def _mails(rows: int, many: int, others: int) -> dict[str, int]:
    """So many texts with these rows each, and others with one."""
    return {**{f"m{i}": rows for i in range(many)}, **{f"n{i}": 1 for i in range(others)}}


def _weights(least: int) -> list[int]:
    """From so many kilograms on, the middle half 50 wide, with a few up to 400."""
    return [least + 2 * (i % 50) for i in range(500)] + [300, 350, 400]


def _visits() -> list[int]:
    """A hundred zeros, and fewer of each number after it."""
    return [i for i in range(15) for _ in range(100 - 6 * i)]


def _frame(seen: Data, one: DataSet) -> str:
    """What a set is called in code."""
    return "frame" if one is seen.train else "test"


def _fixes_of_inputs(gaps: list[Gap]) -> list[str]:
    """Where the inputs of a network are known and no frame is."""
    place = gaps[0].column.name.removeprefix("feature ")
    gone = f"inputs[:, {place}]"
    found = f"(~{gone}.isfinite())" if gaps[0].sentinel is None else f"({gone} == {gaps[0].sentinel:g})"
    lines = (f"missing = {found}", f"{gone} = torch.where(missing, {gone}[~missing].median(), {gone})")
    return ["Fill in what is usual, where the data is prepared:\n" + code(*lines)]


def _fixes(gaps: list[Gap], frame: str) -> list[str]:
    """Lines for the frame of this name."""
    words = sorted({one for gap in gaps for one in gap.spellings if one[0] == "'" and one[1:-1].lower() not in ANSWERS})
    lines = [
        f"{column} = {column}.mask({column} == {gap.written if gap.column.kind == 'number' else repr(gap.written)})"
        for gap in gaps
        if gap.sentinel is not None
        for column in (f"{frame}[{gap.column.name!r}]",)
    ]
    lines += [
        f"{column} = {column}.mask({column}.abs() == float('inf'))"
        for column in (f"{frame}[{gap.column.name!r}]" for gap in gaps if gap.infinite)
    ]
    if words:
        lines.append(f"{frame} = {frame}.mask({frame}.isin([{', '.join(words)}]))")
    said = ["Read all spellings as missing:\n" + code(*lines)] if lines else []
    if all(gap.column.kind == "text" for gap in gaps):
        names = ", ".join(repr(gap.column.name) for gap in gaps)
        return [
            *said,
            "Leave these rows out; a text cannot be filled in:\n" + code(f"{frame} = {frame}.dropna(subset=[{names}])"),
        ]
    one = next((gap.column for gap in gaps if gap.column.kind == "number"), gaps[0].column)
    fill = "median()" if one.kind == "number" else "mode()[0]"
    filled = (
        f"{frame}[{one.name + ' missing'!r}] = {frame}[{one.name!r}].isna()",
        f"{frame}[{one.name!r}] = {frame}[{one.name!r}].fillna(train[{one.name!r}].{fill})",
    )
    return [*said, "Fill in what is usual in the training set, and say that it was missing:\n" + code(*filled)]
