"""Numbers and dates that are written as texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

from stethoscope.observe.data.spelling import form_of

NAN = float("nan")
NEARLY_ALL = 0.9
"""Share of the texts that must be numbers, or dates, for the column to be one of them."""
LOOKED_AT = 1000
YEAR_FIRST = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(.*)")


class DayMonth(NamedTuple):
    """Places of day and month in a date with slashes."""

    day: int
    month: int


@dataclass(frozen=True)
class Reading:
    """How to read the texts of a column."""

    kind: str
    """`number` or `date`."""
    parse: Callable[[str], float]
    """A text as a double (dates: seconds since 1970, UTC), or NaN."""
    least_share: float = NEARLY_ALL


def reading_of(values: Sequence[tuple[str, int]]) -> Reading | None:
    """How to read a column with these most frequent texts and their counts; None where they are words.

    Numbers that start with superfluous zeros, such as `00501`, are names of things and stay words.
    """
    rows: Counter[str] = Counter()
    padded = 0
    for text, count in values[:LOOKED_AT]:
        rows[form_of(text)] += count
        bare = text.strip().lstrip("+-")
        padded += count if len(bare) > 1 and bare[0] == "0" and bare.isdigit() else 0
    total = sum(rows.values())
    numeric = {form: count for form, count in rows.items() if form in NUMBERS}
    dated = {form: count for form, count in rows.items() if form in DATES}
    if not total or padded > 0.01 * total:
        return None
    if sum(numeric.values()) >= NEARLY_ALL * total:
        comma = numeric.get("number 1,5", 0) > numeric.get("number 1,500", 0) + numeric.get("number 1.5", 0)
        return Reading("number", _with_comma if comma else _with_point)
    if sum(dated.values()) >= NEARLY_ALL * total:
        slashed = [text for text, _ in values if form_of(text) == "date 31/12/1999"]
        places = _places(slashed)
        return Reading("date", lambda text: _date(text, places)) if places else None
    return None


NUMBERS = frozenset(("number 1", "number 1.5", "number 1,5", "number 1,500", "number 1.500,0"))
DATES = frozenset(("date 1999-12-31", "date 1999/12/31", "date 31/12/1999", "date 31.12.1999"))


def _with_point(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    form = form_of(text)
    if form == "number 1,500":
        return float(text.replace(",", ""))
    return _with_comma(text) if form in ("number 1,5", "number 1.500,0") else NAN


def _with_comma(text: str) -> float:
    if "_" in text:
        return NAN
    try:
        return float(text.replace(".", "").replace(",", ".") if "," in text else text)
    except ValueError:
        return NAN


def _places(slashed: Sequence[str]) -> DayMonth | None:
    """Which of the first two numbers is the day; None where the values speak for both, or for neither."""
    if not slashed:
        return DayMonth(0, 1)
    first = max((int(text.strip().split("/")[0]) for text in slashed), default=0)
    second = max((int(text.strip().split("/")[1]) for text in slashed), default=0)
    if (first > 12) == (second > 12):
        return None
    return DayMonth(0, 1) if first > 12 else DayMonth(1, 0)


def _date(text: str, places: DayMonth) -> float:
    text = text.strip()
    try:
        if (parted := YEAR_FIRST.fullmatch(text)) is not None:
            year_first, middle, last, time = parted.groups()
            return _seconds(datetime.fromisoformat(f"{year_first}-{middle:0>2}-{last:0>2}{time}"))
        if "/" in text or text.count(".") == 2:
            parts = [int(part) for part in text.split(" ")[0].replace("/", ".").split(".")]
            day, month = (parts[places.day], parts[places.month]) if "/" in text else (parts[0], parts[1])
            year = parts[2] if parts[2] > 99 else parts[2] + (2000 if parts[2] < 70 else 1900)
            return _seconds(datetime.combine(date(year, month, day), datetime.min.time()))
        return _seconds(datetime.fromisoformat(text))
    except (ValueError, IndexError, OverflowError):
        return NAN


def _seconds(when: datetime) -> float:
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
