"""Values of one column in two units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import isfinite, log10

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import number
from stethoscope.facts.data import Column, Data
from stethoscope.facts.units import Mixture, Unit, factors_of, units_of
from stethoscope.rules.columns import named, of_numbers, of_words, one_set, row_of, taken
from stethoscope.rules.shifting import percent
from stethoscope.rules.sites import code

NAMED = 4
BETWEEN_UNITS: Mapping[float, str] = {
    2.20462: "pounds in a kilogram", 2.54: "centimetres in an inch", 3.28084: "feet in a metre",
    1.60934: "kilometres in a mile", 12.0: "inches in a foot, months in a year", 25.4: "millimetres in an inch",
    39.3701: "inches in a metre", 28.3495: "grams in an ounce", 60.0: "minutes in an hour",
    3600.0: "seconds in an hour",
    3.78541: "litres in a gallon", 10.0: "millimetres in a centimetre, or a slip of the point",
    100.0: "centimetres in a metre, hundredths", 1000.0: "grams in a kilogram, thousands",
}  # fmt: skip

_HEIGHTS = Mixture("height", 100.0, 1000, 50, True, (1.7, 171.0), 0.0, 17.0, 0.0, (0.0, 0.0), (7,))
"""Of an example: centimetres among metres."""


class MixedUnits(Rule):
    """The values of one column are in two units, so that equal amounts look different.

    ## What it sees
    In texts, the unit behind or before each number: `12 kg` and `12 lb`, `$ 5` and `5 €`, `19M` and `201k`. Of
    numbers, a part of one in a hundred rows or more that is the rest again, larger by a factor between two units (171
    among 1.71): both parts have the same shape on the scale of logarithms, hardly anything lies between them, and no
    other column tells which rows are in which part, as it would of two kinds of things. It is a warning where the
    factor is a power of ten and nothing lies between, or where the other columns explain more of the column once all
    is in one unit; else a note. Degrees differ by more than a factor, and are told in texts alone.
    ## Why it hurts
    A model is told that some people are a hundred times as tall as others. The few rows set the scale, and the relation
    of the column to all else is lost.
    ## How to fix it
    Find out where the rows come from, and convert those of one unit before the column is used.
    ## When it is not a fault
    A column that holds amounts of different things, each with its unit, such as a list of measurements.
    ## Sources
    Catalogues of data smells: H. Foidl, M. Felderer, R. Ramler, "Data Smells: Categories, Causes and Consequences",
    CAIN 2022. The Mars Climate Orbiter was lost to pound-seconds among newton-seconds (NASA, 1999).
    """

    severity = Severity.WARNING
    explains = ("mixed-formats", "outliers", "skewed-feature", "unnormalized-input")

    rare = Limit(0.001, unit="share of a column in a second unit", why="a single odd cell is a slip and no second unit")
    mostly = Limit(0.8, unit="share of a column that are amounts", why="below, it is a column of words")
    fewest_amounts = Limit(10, unit="different values", why="fewer numbers with a unit are names of categories")
    between = Limit(
        0.35,
        unit="rows about the border of the two parts / about the middle of the smaller part",
        why="0.6 to 2 where a column merely has two humps (wine, breast cancer)",
    )
    empty = Limit(0.05, unit="the same, for a warning by itself", why="nothing lies between metres and centimetres")
    others = Limit(
        0.1,
        unit="how far another column tells the parts from each other (0: not, 1: wholly), beyond chance",
        why="0.4 to 0.8 of two kinds of things in real sets; a unit goes with no measurement",
    )
    gain = Limit(
        0.1,
        unit="rise of the share of the variance that other columns explain",
        why="it falls where two kinds of things are taken for two units: by 0.1 to 0.6 in real sets",
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the columns of text of each set, and the numbers of the first."""
        for one in seen.sets:
            for column in one.profile.columns:
                if (units := self.units(column)) is not None:
                    yield self._written(one.name, column, units)
        for mixture in seen.train.mixtures:
            if (severity := self._of(mixture)) is not None:
                yield self._mixed(seen, mixture, severity)

    def units(self, column: Column) -> tuple[Unit, ...] | None:
        """The units of a column of texts in which several measure one thing; None of any other column."""
        words = column.words
        if words is None or column.kind in ("text", "empty") or len(words.top) < self.fewest_amounts:
            return None
        missing = dict(words.missing)
        present = [pair for pair in words.top if pair[0] not in missing]
        rows = sum(count for _, count in present)
        units = units_of(present)
        if sum(unit.rows for unit in units) < self.mostly * rows:
            return None
        frequent = tuple(unit for unit in units if unit.name and unit.rows >= max(2, self.rare * rows))
        factors = factors_of(frequent)
        if factors is None or len({size for size in factors.values() if size is not None}) + _without(factors) < 2:
            return None
        return tuple(unit for unit in units if unit.name in factors)

    def _written(self, where: str, column: Column, units: tuple[Unit, ...]) -> Finding:
        factors = factors_of(units) or {}
        first, second = units[0], next(unit for unit in units[1:] if factors[unit.name] != 1)
        if None in factors.values():
            fix = "Bring all to one unit; no factor leads from one to the other by itself:\n" + code(
                f"print(frame[{column.name!r}].str.replace(r'[-+0-9., ]', '', regex=True).value_counts())"
            )
        else:
            sizes = ", ".join(f"{name!r}: {number(size)}" for name, size in list(factors.items())[:NAMED] if size)
            fix = f"Bring all to {first.name}:\n" + code(
                f"parts = frame[{column.name!r}].str.extract(r'([-+0-9.]+) *(.*)')",
                f"frame[{column.name!r}] = parts[0].astype(float) * parts[1].str.lower().map({{{sizes}}})",
            )
        return self.finding(
            f"column {named(column.name)} is in {len(units)} units, such as {first.name} and {second.name}"[:72],
            sureness=Sureness.CERTAIN,
            place=Place(file=where, columns=(column.name,)),
            evidence=[
                Evidence(f"values in {unit.name}, such as {unit.example[:24]!r}", f"{unit.rows:,} rows", "all or none")
                for unit in units[:NAMED]
            ],
            cause="Without its unit a number says nothing: what strips the units makes one column of amounts that "
            "cannot be compared.",
            fixes=[fix],
            unless="each row is an amount of another thing.",
        )

    def _of(self, one: Mixture) -> Severity | None:
        """How grave it is that a column may be in two units; None where it has two humps, and no more."""
        if one.others > self.others or one.between > self.between:
            return None
        if one.explained[1] - one.explained[0] >= self.gain:
            return Severity.WARNING
        if one.explained[1] < one.explained[0] - self.gain:
            return None
        is_prefix = log10(one.factor).is_integer()
        return Severity.WARNING if is_prefix and one.between <= self.empty else Severity.NOTE

    def _mixed(self, seen: Data, one: Mixture, severity: Severity) -> Finding:
        values, times = taken(seen, one.column), number(one.factor)
        side = "larger" if one.fewer_are_larger else "smaller"
        change = f"/ {one.factor:g}" if one.fewer_are_larger else f"* {one.factor:g}"
        sign = ">" if one.fewer_are_larger else "<"
        lines = code(f"odd = {values} {sign} {one.border:.6g}", f"{values} = {values}.mask(odd, {values} {change})")
        if not isfinite(one.border):
            lines = code("stethoscope data TRAIN --suspects rows.csv")
        evidence = [
            Evidence(
                "middle of the larger values / of the others",
                f"{number(one.medians[1])} / {number(one.medians[0])}",
                "one unit",
                f"about {times}: {BETWEEN_UNITS.get(one.factor, 'a factor between two units')}",
            ),
            Evidence("rows that are so much " + side, f"{one.fewer:,} of {one.rows:,}", "0", "of those looked at"),
        ]
        if one.explained[1] - one.explained[0] >= self.gain:
            evidence.append(
                Evidence(
                    "share of the variance that the other columns explain", percent(max(0.0, one.explained[0])),
                    percent(one.explained[1]), "with all in one unit",
                )
            )  # fmt: skip
        return self.finding(
            f"{percent(one.fewer / one.rows)} of column {named(one.column)} seem to be in another unit",
            severity=severity,
            sureness=Sureness.LIKELY if severity is Severity.WARNING else Sureness.POSSIBLE,
            place=Place(file=seen.train.name, columns=(one.column,)),
            evidence=evidence,
            cause=f"A part of the values is {times} times {side} than the others, has the same spread, and no other "
            "column tells which rows they are: as where one source measures in another unit.",
            fixes=[f"Find out where these rows come from, and convert them:\n{lines}"],
            unless="the column holds two kinds of things.",
            suspects=[
                SuspectRow(seen.train.name, row, row_of(seen.train.sample, row, one.column), f"{times} times {side}")
                for row in one.examples
            ],
        )

    bad = Examples(lambda: {
        "kilograms and pounds": one_set(_amounts({"kg": 70, "lb": 30})),
        "dollars and euros": one_set(_amounts({"$": 70, "€": 30})),
        "thousands and millions": one_set(_amounts({"k": 70, "m": 30})),
        "ten of them": one_set(_amounts({"kg": 6, "lb": 4})),
        "two of two thousand": one_set(_amounts({"kg": 1998, "lb": 2})),
        "four in five are amounts": one_set(_amounts({"kg": 40, "lb": 41, "": 0}, words=19)),
        "centimetres among metres": _parted(_HEIGHTS),
        "two humps, empty enough": _parted(replace(_HEIGHTS, factor=2.54, between=0.34)),
        "next to nothing between": _parted(replace(_HEIGHTS, between=0.049)),
        "hardly nothing between": _parted(replace(_HEIGHTS, between=0.051)),
        "others hardly tell": _parted(replace(_HEIGHTS, others=0.098)),
        "better explained": _parted(replace(_HEIGHTS, factor=2.20462, between=0.3, explained=(0.3, 0.401))),
        "hardly better explained": _parted(replace(_HEIGHTS, factor=2.20462, between=0.3, explained=(0.3, 0.399))),
        "explained as well": _parted(replace(_HEIGHTS, factor=2.54, between=0.2, explained=(0.3, 0.203))),
        "no single border": _parted(replace(_HEIGHTS, border=float("nan"), fewer_are_larger=False)),
    })  # fmt: skip
    good = Examples(lambda: {
        "one unit": one_set(_amounts({"kg": 100})),
        "two names of one unit": one_set(_amounts({"lb": 70, "lbs": 30})),
        "amounts of different things": one_set(_amounts({"kg": 50, "km": 50})),
        "houses": one_set(_amounts({"a": 50, "b": 30, "c": 20})),
        "nine of them": one_set(_amounts({"kg": 5, "lb": 4})),
        "a slip": one_set(_amounts({"kg": 1999, "lb": 1})),
        "rarer than that": one_set(_amounts({"kg": 20_781, "lb": 20})),
        "words with some amounts": one_set(_amounts({"kg": 39, "lb": 40}, words=21)),
        "two humps": _parted(replace(_HEIGHTS, factor=2.54, between=0.36)),
        "two kinds of things": _parted(replace(_HEIGHTS, others=0.102)),
        "better explained, and one hump": _parted(replace(_HEIGHTS, factor=1.60934, between=0.9, explained=(0.3, 0.6))),
        "worse explained": _parted(replace(_HEIGHTS, factor=2.54, between=0.2, explained=(0.3, 0.197))),
        "numbers": one_set(of_numbers("a", range(20))),
    })  # fmt: skip


def _without(factors: Mapping[str, float | None]) -> int:
    """Units from which no factor leads to another."""
    return sum(size is None for size in factors.values())


def _parted(mixture: Mixture) -> Data:
    return one_set(of_numbers("height", [1.6 + i / 1000 for i in range(1000)]), mixtures=(mixture,))


def _amounts(units: Mapping[str, int], words: int = 0) -> Column:
    """So many rows of each unit, each with another number, and of words."""
    texts = {f"{i + 10} {unit}".strip(): 1 for unit, rows in units.items() for i in range(min(rows, 400))}
    for unit, rows in units.items():
        texts |= {f"10 {unit}".strip(): rows - min(rows, 400) + 1} if rows else {}
    return of_words("weight", {**texts, **{f"word {i}": 1 for i in range(words)}})
