"""Columns that hold the same in other units: the values of the second set are those of the first, times a factor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.text import number
from stethoscope.facts.comparable import comparable
from stethoscope.facts.data import Column, Data
from stethoscope.facts.gaps import numbers_gap
from stethoscope.facts.statistics import chosen, effective
from stethoscope.rules.budget import SHARES
from stethoscope.rules.shifting import TOLERANCE

Doubles = NDArray[np.float64]

LARGE = 5.0
"""A factor that no shift of what is measured gives, where the shape stays."""
FAR = 5.0
"""And a distance of the means, in standard deviations."""
NOTICEABLE = 1.7
"""A factor that is only believed where most columns have one."""
MOST = 0.8
"""Share of the numeric columns."""
SAME_SHAPE = 0.12
"""Mean distance of the quantiles, once both sets have the same centre and spread, in spreads."""
FEWEST = 50
"""Rows of a sample whose shape can be compared."""
HALF = 0.4
"""Share of the columns whose shapes have to show it; the others may be too coarse to have one."""
SHAPED = 4
"""Different values from which on a column has a shape."""
CLOSE = 0.03
"""How near to a known factor the seen one has to be."""
KNOWN: tuple[tuple[float, float, str], ...] = (
    (255.0, 0.0, "pixels of 0..255 beside pixels of 0..1"),
    (100.0, 0.0, "percent beside shares, or cents beside whole units"),
    (1000.0, 0.0, "thousandths, or thousands"),
    (10.0, 0.0, "tenths, or tens"),
    (60.0, 0.0, "seconds beside minutes, or minutes beside hours"),
    (3600.0, 0.0, "seconds beside hours"),
    (12.0, 0.0, "months beside years, or inches beside feet"),
    (57.29578, 0.0, "degrees beside radians"),
    (2.54, 0.0, "centimetres beside inches"),
    (3.28084, 0.0, "feet beside metres"),
    (2.20462, 0.0, "pounds beside kilograms"),
    (1.60934, 0.0, "kilometres beside miles"),
    (3.6, 0.0, "km/h beside m/s"),
    (1.8, 32.0, "degrees Fahrenheit beside Celsius"),
    (1.0, 273.15, "kelvin beside degrees Celsius"),
    (1e6, 0.0, "millionths, or millions"),
)  # fmt: skip
"""Factor, offset and what that is."""


@dataclass(frozen=True)
class Rescaling:
    """The second set's column is about `factor` times the first's, plus `offset`."""

    factor: float
    offset: float
    known: str = ""
    """What such a factor is, where it is a known one."""

    @property
    def words(self) -> str:
        """`about 255 times larger`."""
        if 1 / NOTICEABLE < self.factor < NOTICEABLE:
            return f"moved by about {_short(self.offset)}"
        if self.factor >= 1:
            return f"about {_short(self.factor)} times larger"
        return f"about {_short(1 / self.factor)} times smaller"


def _short(value: float) -> str:
    """A number with at most three digits that count."""
    return number(float(f"{value:.3g}"))


def rescaled(seen: Data) -> dict[str, Rescaling]:
    """The columns whose units differ between the two sets, by name.

    A column that keeps its shape and is larger by a factor that a shift does not give, or by a known one; and where
    most numeric columns keep their shapes and are larger or smaller, all of those.
    """
    pairs = [pair for pair in comparable(seen) if pair[0].kind == "number" and _varies(pair[0])]
    gaps = [numbers_gap(one.numbers, other.numbers, TOLERANCE) for one, other in pairs if one.numbers and other.numbers]
    sure = chosen([1.0 if gap is None else gap.chance for gap in gaps], SHARES["inconsistent-preprocessing"])
    noticed: dict[str, Rescaling] = {}
    unclear = []
    for (one, other), is_sure in zip(pairs, sure, strict=True):
        change = _change(seen, one, other) if is_sure else None
        if change is not None:
            noticed[one.name] = change
        else:
            unclear.append((one, other))
    every = noticed | _likewise(noticed, unclear)
    if len(noticed) >= max(2, HALF * len(pairs)) and len(every) >= MOST * len(pairs):
        return every
    return {name: change for name, change in noticed.items() if _is_sure(seen, name, change)}


def _likewise(noticed: dict[str, Rescaling], unclear: list[tuple[Column, Column]]) -> dict[str, Rescaling]:
    """Columns whose shape cannot be compared, such as pixels that are mostly 0, with a factor like the others."""
    if not noticed:
        return {}
    usual = float(np.median([change.factor for change in noticed.values()]))
    factors = {one.name: _moments(one, other) for one, other in unclear}
    return {name: Rescaling(factor, 0.0) for name, factor in factors.items() if factor and 0.4 < factor / usual < 2.5}


def _moments(one: Column, other: Column) -> float | None:
    """The ratio of the standard deviations, where it is one that no shift gives."""
    if one.numbers is None or other.numbers is None or not other.numbers.std > 0:
        return None
    factor = other.numbers.std / one.numbers.std
    return None if 1 / LARGE < factor < LARGE else factor


def _varies(column: Column) -> bool:
    numbers = column.numbers
    return numbers is not None and numbers.count > 0 and numbers.std > 0


def _is_sure(seen: Data, name: str, change: Rescaling) -> bool:
    if change.known or not 1 / LARGE < change.factor < LARGE:
        return True
    one, other = (each.profile.column(name) for each in seen.sets)
    if one is None or other is None or one.numbers is None or other.numbers is None:
        return False
    return abs(other.numbers.mean - one.numbers.mean) >= FAR * max(one.numbers.std, other.numbers.std)


def _change(seen: Data, one: Column, other: Column) -> Rescaling | None:
    """How one column became the other, where that is a factor and an offset; None where its shape has changed."""
    first, second = one.numbers, other.numbers
    assert first is not None
    assert second is not None
    if not second.std > 0 or first.distinct < SHAPED:
        return None
    small = 1 / 1.5 < second.std / first.std < 1.5 and abs(second.mean - first.mean) < 2 * first.std
    if small or seen.test is None:
        return None
    noise = 0.0
    samples = [_values(each.sample.values.get(one.name)) for each in (seen.train, seen.test)]
    if min(sample.size for sample in samples) >= FEWEST:
        shapes = [_shape(sample) for sample in samples]
        if any(spread == 0 for _, _, spread in shapes):
            return None
        (inner, centre, spread), (inner_other, centre_other, spread_other) = shapes
        noise = 1 / math.sqrt(effective(samples[0].size, samples[1].size))
        if np.abs((inner - centre) / spread - (inner_other - centre_other) / spread_other).mean() > SAME_SHAPE + noise:
            return None
    elif abs(first.skewness - second.skewness) < 0.5:
        centre, spread, centre_other, spread_other = first.mean, first.std, second.mean, second.std
    else:
        return None
    factor = spread_other / spread
    offset = centre_other - factor * centre
    # Around 0, any factor leaves no offset: then a small one tells nothing of units.
    known = ""
    if abs(centre) >= spread or factor >= LARGE or factor <= 1 / LARGE:
        factor, offset, known = _known(factor, offset, spread_other, noise)
    is_noticed = not 1 / NOTICEABLE < factor < NOTICEABLE or abs(offset) >= 2 * spread_other or bool(known)
    return Rescaling(float(factor), float(offset), known) if is_noticed else None


def _values(sample: NDArray[np.float64] | NDArray[np.object_] | None) -> Doubles:
    if sample is None or sample.dtype == object:
        return np.zeros(0)
    values = sample.astype(np.float64)
    return values[np.isfinite(values)]


def _shape(values: Doubles) -> tuple[Doubles, float, float]:
    """Quantiles without the tails, their median, and the mean distance from it."""
    inner = np.quantile(values, np.linspace(0.05, 0.95, 91))
    centre = float(inner[45])
    return inner, centre, float(np.abs(inner - centre).mean())


def _known(factor: float, offset: float, spread: float, noise: float) -> tuple[float, float, str]:
    """The known factor and offset that these are, either way round, and what they are; else these, and nothing.

    A large factor may be off by the noise of few rows.
    """
    for size, moved, words in KNOWN:
        for ratio, shift in ((size, moved), (1 / size, -moved / size)):
            if (
                abs(factor / ratio - 1) <= (max(CLOSE, noise) if size >= LARGE else CLOSE)
                and abs(offset - shift) <= 0.15 * spread
            ):
                return ratio, shift, words
    return factor, offset, ""
