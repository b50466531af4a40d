"""Small pictures of columns: both sets in one, with the band in which the second would lie if nothing had changed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.text import clean, number
from stethoscope.facts.data import Column, Numbers
from stethoscope.render.markup import Html, joined, tag

Doubles = NDArray[np.float64]

WIDTH, HEIGHT = 300, 96
FLOOR = HEIGHT - 16
BARS = 48
MOST_BARS = 8
BAR = 15
LONGEST = 16
TELLING = 0.005
"""Least share of the most frequent value: where all are rarer, bars would tell nothing."""
Z = 3.0
"""Standard errors of the band: three, since a page holds dozens of bars."""
TAIL = 0.005
"""Share of the values at either end that is left out of the picture, where they lie far out."""


def column_picture(first: Column, second: Column | None) -> Html:
    """The distribution of a column, of both sets where there are two; empty where nothing can be drawn."""
    if first.numbers is not None and first.numbers.count and first.kind in ("number", "date", "truth"):
        other = second.numbers if second is not None and second.numbers is not None and second.numbers.count else None
        return _histogram(first, first.numbers, other)
    if first.words is not None and first.words.top and first.words.top[0][1] >= TELLING * first.words.count:
        return _bars(first, second)
    return Html("")


def _histogram(column: Column, first: Numbers, second: Numbers | None) -> Html:
    low, high = _range([one for one in (first, second) if one is not None])
    edges = np.linspace(low, high, BARS + 1)
    shares = _shares(first, edges)
    other = _shares(second, edges) if second is not None else None
    band = (
        Z * np.sqrt(shares * (1 - shares) * (1 / first.count + 1 / second.count)) if second is not None else shares * 0
    )
    top = float(max(shares.max(), (shares + band).max(), other.max() if other is not None else 0.0)) or 1.0
    parts = []
    if second is not None:
        parts.append(tag("path", class_="band", d=_between(shares - band, shares + band, top)))
    parts.append(tag("path", class_="first", d=_steps(shares, top) + f"L{WIDTH} {FLOOR}L0 {FLOOR}Z"))
    if other is not None:
        parts.append(tag("path", class_="other", d=_steps(other, top)))
    parts.append(tag("line", class_="axis", x1=0, x2=WIDTH, y1=FLOOR, y2=FLOOR))
    for value, x, anchor in ((low, 0, "start"), (high, WIDTH, "end")):
        parts.append(tag("text", _written(column, value), x=x, y=HEIGHT - 3, text_anchor=anchor))
    said = f"{column.name}: {number(first.quantile(0.25))} to {number(first.quantile(0.75))} in the middle half"
    return _svg(parts, HEIGHT, said)


def _written(column: Column, value: float) -> str:
    """A value at the edge of the picture; a date as one."""
    if column.kind == "date":
        with contextlib.suppress(OverflowError, ValueError, OSError):
            return datetime.fromtimestamp(value, UTC).date().isoformat()
    return number(float(f"{value:.4g}"))


def _range(sets: list[Numbers]) -> tuple[float, float]:
    """Where the picture begins and ends: the middle 99 %, or all where that is not much more."""
    low, high = min(one.quantile(TAIL) for one in sets), max(one.quantile(1 - TAIL) for one in sets)
    least, greatest = min(one.least for one in sets), max(one.greatest for one in sets)
    width = (high - low) or abs(high) or 1.0
    low = least if low - least <= 0.5 * width else low
    high = greatest if greatest - high <= 0.5 * width else high
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _shares(numbers: Numbers, edges: Doubles) -> Doubles:
    """The share of the values in each bar, those of a bin of the grid spread evenly over it."""
    bounds = np.clip(
        np.concatenate([[numbers.least], numbers.grid.edges(), [numbers.greatest]]), numbers.least, numbers.greatest
    )
    below = np.concatenate([[0.0], np.cumsum(numbers.counts, dtype=np.float64)])
    at, places = np.unique(bounds, return_index=True)
    count = np.maximum.reduceat(below, places)  # where several bins end at one value, all of them are below it
    if at.size == 1:
        shares = np.zeros(edges.size - 1)
        shares[min(edges.size - 2, int(np.searchsorted(edges, at[0], side="right")) - 1)] = 1.0
        return shares
    count[0] = 0.0
    cumulated = np.interp(edges, at, count, left=0.0, right=float(numbers.count))
    return np.asarray(np.maximum(0.0, np.diff(cumulated) / numbers.count))


def _y(share: float, top: float) -> float:
    return FLOOR - min(1.0, max(0.0, share / top)) * (FLOOR - 4)


def _steps(shares: Doubles, top: float) -> str:
    """The outline of bars."""
    wide = WIDTH / shares.size
    words: list[str] = []
    for place, share in enumerate(shares.tolist()):
        y = _y(share, top)
        words.append(f"{'L' if words else 'M'}{place * wide:.1f} {y:.1f}H{(place + 1) * wide:.1f}")
    return "".join(words)


def _between(low: Doubles, high: Doubles, top: float) -> str:
    wide = WIDTH / low.size
    there = "".join(
        f"{'L' if place else 'M'}{place * wide:.1f} {_y(one, top):.1f}H{(place + 1) * wide:.1f}"
        for place, one in enumerate(high.tolist())
    )
    back = "".join(
        f"L{(place + 1) * wide:.1f} {_y(one, top):.1f}H{place * wide:.1f}"
        for place, one in reversed(list(enumerate(low.tolist())))
    )
    return f"{there}{back}Z"


def _bars(first: Column, second: Column | None) -> Html:
    """The most frequent values, a bar each; the second set as a mark, with its band."""
    assert first.words is not None
    top = first.words.top[:MOST_BARS]
    others = dict(second.words.top) if second is not None and second.words is not None else {}
    total, count = (
        max(1, first.words.count),
        second.words.count if second is not None and second.words is not None else 0,
    )
    largest = max(max(n / total for _, n in top), max((others.get(text, 0) / count for text, _ in top), default=0.0)
                  if count else 0.0)  # fmt: skip
    left, wide = 104, WIDTH - 104 - 34
    parts = []
    for place, (text, rows) in enumerate(top):
        y, share = place * BAR, rows / total
        shown = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
        parts.append(tag("text", clean(shown) or "(empty)", x=left - 6, y=y + 11, text_anchor="end"))
        parts.append(tag("rect", class_="bar", x=left, y=y + 2, width=f"{wide * share / largest:.1f}", height=BAR - 4))
        if count:
            band = Z * float(np.sqrt(share * (1 - share) * (1 / total + 1 / count)))
            low, high = max(0.0, share - band), share + band
            x, until = left + wide * low / largest, left + wide * min(high, largest) / largest
            parts.append(
                tag("rect", class_="band", x=f"{x:.1f}", y=y + 2, width=f"{max(1.0, until - x):.1f}", height=BAR - 4)
            )
            at = left + wide * min(largest, others.get(text, 0) / count) / largest
            parts.append(tag("line", class_="other", x1=f"{at:.1f}", x2=f"{at:.1f}", y1=y + 1, y2=y + BAR - 1))
        parts.append(
            tag("text", f"{share:.0%}" if share >= 0.1 else f"{share:.1%}", x=WIDTH, y=y + 11, text_anchor="end")
        )
    return _svg(parts, len(top) * BAR, f"{first.name}: {top[0][0]} is {top[0][1] / total:.0%}")


def box_picture(name: str, groups: Sequence[tuple[str, Doubles]]) -> Html:
    """A box for each class: quartiles, median, and the middle 98 %."""
    values = np.concatenate([some for _, some in groups])
    low, high = (float(one) for one in np.quantile(values, [0.01, 0.99]))
    span = (high - low) or 1.0
    left, wide = 84, WIDTH - 84
    parts = []
    for place, (label, some) in enumerate(groups):
        y = place * (BAR + 3)
        ends = np.quantile(some, [0.01, 0.25, 0.5, 0.75, 0.99])
        x = [left + wide * min(1.0, max(0.0, (float(one) - low) / span)) for one in ends]
        parts.append(tag("text", clean(label[:12]), x=left - 6, y=y + 12, text_anchor="end"))
        parts.append(tag("line", class_="whisker", x1=f"{x[0]:.1f}", x2=f"{x[4]:.1f}", y1=y + 8.5, y2=y + 8.5))
        parts.append(
            tag("rect", class_="bar", x=f"{x[1]:.1f}", y=y + 3, width=f"{max(1.0, x[3] - x[1]):.1f}", height=BAR - 4)
        )
        parts.append(tag("line", class_="median", x1=f"{x[2]:.1f}", x2=f"{x[2]:.1f}", y1=y + 2, y2=y + BAR))
    floor = len(groups) * (BAR + 3) + 12
    for value, at, anchor in ((low, left, "start"), (high, WIDTH, "end")):
        parts.append(tag("text", number(float(f"{value:.3g}")), x=at, y=floor, text_anchor=anchor))
    return _svg(parts, floor + 3, f"{name} by class")


def scatter_picture(name: str, target: str, values: Doubles, truth: Doubles) -> Html:
    """A dot for each row: the column from left to right, the target upwards."""
    low, high = (float(one) for one in np.quantile(values, [0.005, 0.995]))
    bottom, top = (float(one) for one in np.quantile(truth, [0.005, 0.995]))
    x = np.clip((values - low) / ((high - low) or 1.0), 0, 1) * (WIDTH - 44) + 40
    y = (1 - np.clip((truth - bottom) / ((top - bottom) or 1.0), 0, 1)) * (HEIGHT - 4) + 4
    dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    parts = [tag("path", class_="dots", d=dots)]
    for value, at in ((top, 12), (bottom, HEIGHT)):
        parts.append(tag("text", number(float(f"{value:.3g}")), x=34, y=at, text_anchor="end"))
    for value, at, anchor in ((low, 40, "start"), (high, WIDTH, "end")):
        parts.append(tag("text", number(float(f"{value:.3g}")), x=at, y=HEIGHT + 14, text_anchor=anchor))
    return _svg(parts, HEIGHT + 18, f"{target} against {name}")


def _svg(parts: list[Html], height: float, words: str) -> Html:
    return tag(
        "svg", joined(parts), class_="column-plot", viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=words
    )
