"""Units of measurement: those that texts name, and numbers of one column that are in two of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SIZES: Mapping[str, Mapping[str, float | None]] = {
    "length": {
        "mm": 0.001, "cm": 0.01, "m": 1.0, "km": 1000.0, "in": 0.0254, "inch": 0.0254, "ft": 0.3048, "feet": 0.3048,
        "yd": 0.9144, "mi": 1609.344,
    },
    "mass": {
        "mg": 1e-6, "g": 0.001, "kg": 1.0, "kgs": 1.0, "t": 1000.0, "lb": 0.45359237, "lbs": 0.45359237,
        "oz": 0.028349523125, "st": 6.35029318,
    },
    "volume": {"ml": 0.001, "cl": 0.01, "dl": 0.1, "l": 1.0, "gal": 3.785411784},
    "time": {
        "ms": 0.001, "s": 1.0, "sec": 1.0, "secs": 1.0, "min": 60.0, "mins": 60.0, "h": 3600.0, "hr": 3600.0,
        "hrs": 3600.0, "d": 86_400.0, "day": 86_400.0, "days": 86_400.0, "wk": 604_800.0,
    },
    "speed": {"kmh": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704},
    "energy": {"j": 1.0, "kj": 1000.0, "cal": 4.184, "kcal": 4184.0, "kwh": 3.6e6},
    "size": {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12},
    "number": {"k": 1e3, "m": 1e6, "b": 1e9, "bn": 1e9},
    "temperature": {"c": None, "f": None, "°c": None, "°f": None, "°k": None},
    "money": {"$": None, "€": None, "£": None, "¥": None, "usd": None, "eur": None, "gbp": None, "chf": None,
              "jpy": None},
}  # fmt: skip
"""Of each unit in the base unit of its kind; None where two units differ by more than a factor, or from day to day."""
KNOWN = 0.95
"""Share of the rows with a unit whose unit is of one kind."""
_AMOUNT = re.compile(r"([$€£¥]?)\s*([+-]?\d[\d.,]*)\s*([$€£¥%]|[a-zµ°]{1,4})?", re.IGNORECASE)


@dataclass(frozen=True)
class Unit:
    """One of the units in which a column is written."""

    name: str
    """In lower case; empty for numbers without one."""
    rows: int
    example: str


def units_of(texts: Iterable[tuple[str, int]]) -> tuple[Unit, ...]:
    """The units of texts with their counts, the most frequent one first; those that are no amounts are left out."""
    rows: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for text, count in texts:
        found = _AMOUNT.fullmatch(text.strip())
        if found is not None:
            name = (found[1] or found[3] or "").lower()
            rows[name] += count
            examples.setdefault(name, text)
    return tuple(Unit(name, count, examples[name]) for name, count in rows.most_common())


def factors_of(units: Iterable[Unit]) -> Mapping[str, float | None] | None:
    """Of units that measure one thing, what each is in the most frequent one; None where they measure several things.

    A factor is None where there is no such number.
    """
    named = [unit for unit in units if unit.name]
    if len(named) == 1:
        return {named[0].name: 1.0}
    total = sum(unit.rows for unit in named)
    for sizes in SIZES.values():
        known = [unit for unit in named if unit.name in sizes]
        if len(known) > 1 and sum(unit.rows for unit in known) >= KNOWN * total > 0:
            base = sizes[known[0].name]
            ratios = ((unit.name, sizes[unit.name]) for unit in known)
            return {name: None if size is None or base is None else size / base for name, size in ratios}
    return None


@dataclass(frozen=True)
class Mixture:
    """Numbers of a column of which some are a factor larger than the others, as if they were in another unit."""

    column: str
    factor: float
    """Of the larger ones."""
    rows: int
    """That were looked at, of the sample."""
    fewer: int
    """Of these in the rarer unit."""
    fewer_are_larger: bool
    medians: tuple[float, float]
    """Of the smaller and of the larger ones."""
    between: float
    """Rows near the border between the two, over those as near to the middle of the fewer ones; 0: nothing is there."""
    border: float
    """Between the two, where a single number parts them; else NaN."""
    others: float
    """How far (0: not at all, 1: wholly) some other column tells which rows are the fewer: a unit goes with none."""
    explained: tuple[float, float]
    """Share of the variance of the logarithm that the other columns explain, as it is and once all are in one unit."""
    examples: tuple[int, ...] = ()
    """Rows of the fewer ones, as places in the set."""
