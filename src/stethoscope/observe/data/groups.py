"""How targets and a model's errors differ between groups of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Group, Groups, Rows

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Truths = NDArray[np.bool_]

MOST_VALUES = 20
"""Values of a column that make a group of their own."""
FEW_NUMBERS = 8
"""Different numbers up to which each is a value of its own; above, the quarters are taken."""
FEWEST = 30
"""Rows on each side: in fewer no difference is told."""
MOST_GROUPS = 200
SURE = 0.01
"""Chance that any of all intervals misses, together."""
LARGEST = 1e150
WILD = 5.0
"""Times the usual error from which on a larger one counts as this."""


@dataclass(frozen=True)
class Parts:
    """The rows of a column, sorted into a few values."""

    column: str
    codes: Ints
    names: tuple[str, ...]
    frames: tuple[str, ...]
    """Each as a pandas expression."""


def parts(column: str, values: NDArray[np.float64] | NDArray[np.object_]) -> Parts | None:
    """A column's rows by value, or of many numbers by quarter; None where it has one value, or only names.

    Rows of rarer values than the most frequent ones are in no part: their code is -1.
    """
    frame = f"frame[{column!r}]"
    if values.dtype == object:
        texts = np.array(["" if one is None else str(one) for one in values])
        different, codes, counts = np.unique(texts, return_inverse=True, return_counts=True)
        if different.size < 2 or different.size > 0.5 * texts.size:
            return None
        chosen = np.sort(np.argsort(-counts, kind="stable")[:MOST_VALUES])
        place = np.full(different.size, -1)
        place[chosen] = np.arange(chosen.size)
        names = tuple(str(different[one]) or "missing" for one in chosen)
        frames = tuple(
            f"({frame} == {str(different[one])!r})" if different[one] else f"{frame}.isna()" for one in chosen
        )
        return Parts(column, place[codes], names, frames)
    numbers = np.asarray(values, np.float64)
    known = np.isfinite(numbers)
    different = np.unique(numbers[known])
    if different.size < 2:
        return None
    if different.size <= FEW_NUMBERS:
        codes = np.where(known, np.searchsorted(different, np.where(known, numbers, different[0])), -1)
        names = tuple(f"{one:.6g}" for one in different)
        return Parts(column, codes, names, tuple(f"({frame} == {float(one)!r})" for one in different))
    # An edge is a value that occurs, and belongs to the lower part.
    edges = np.unique(np.quantile(numbers[known], [0.25, 0.5, 0.75], method="lower"))
    edges = edges[edges < different[-1]] if edges[0] < different[-1] else different[-2:-1]
    codes = np.where(known, np.searchsorted(edges, np.where(known, numbers, 0.0)), -1)
    ends = [*(f"{one:.6g}" for one in edges)]
    names = (f"up to {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends)), f"above {ends[-1]}")
    exact = [*(repr(float(one)) for one in edges)]
    frames = (
        f"({frame} <= {exact[0]})",
        *(f"{frame}.between({a}, {b}, 'right')" for a, b in pairwise(exact)),
        f"({frame} > {exact[-1]})",
    )
    return Parts(column, codes, names, frames)


def outcomes(rows: Rows, target: str, task: str) -> tuple[Doubles | None, str]:
    """The target as a number for each row (NaN where unknown), and in words; None for more than two classes."""
    if target not in rows.values:
        return None, ""
    values = rows.values[target]
    if task == "regression":
        return _finite(np.asarray(values, np.float64)), f"mean of {target}"
    different, codes = _classes(values)
    if len(different) != 2:
        return None, ""
    return np.where(codes < 0, np.nan, codes.astype(np.float64)), f"share with {target} = {different[1]}"


def errors(rows: Rows, target: str, task: str, predictions: str) -> tuple[Doubles | None, str]:
    """The error of the prediction for each row (NaN where unknown), and in words; None where there are no two alike."""
    if not predictions or target not in rows.values or predictions not in rows.values:
        return None, ""
    given, said = rows.values[target], rows.values[predictions]
    if task == "regression":
        if given.dtype == object or said.dtype == object:
            return None, ""
        with np.errstate(invalid="ignore", over="ignore"):
            off = np.abs(np.asarray(given, np.float64) - np.asarray(said, np.float64))
        return _finite(off), "mean distance from the target"
    if given.dtype != object and said.dtype != object:
        numbers, guesses = np.asarray(given, np.float64), np.asarray(said, np.float64)
        # Probabilities of the second class of two.
        if set(np.unique(numbers[np.isfinite(numbers)])) <= {0.0, 1.0} and (guesses % 1 != 0).any():
            guesses = np.where(np.isfinite(guesses), (guesses >= 0.5).astype(float), np.nan)
        wrong = (numbers != guesses).astype(np.float64)
        return np.where(np.isfinite(numbers) & np.isfinite(guesses), wrong, np.nan), "share predicted wrong"
    texts, others = _texts(given), _texts(said)
    known = np.array([a is not None and b is not None for a, b in zip(texts, others, strict=True)])
    if not set(others[known]) & set(texts[known]):
        return None, ""
    return np.where(known, (texts != others).astype(np.float64), np.nan), "share predicted wrong"


def leanings(rows: Rows, target: str, task: str, predictions: str) -> Doubles | None:
    """Prediction less target for each row (NaN where unknown); None for more than two classes."""
    if not predictions or target not in rows.values or predictions not in rows.values:
        return None
    given, said = rows.values[target], rows.values[predictions]
    if task == "regression":
        if given.dtype == object or said.dtype == object:
            return None
        with np.errstate(invalid="ignore", over="ignore"):
            off = _finite(np.asarray(said, np.float64) - np.asarray(given, np.float64))
        return tamed(off)
    wrong, _ = errors(rows, target, task, predictions)
    happened, _ = outcomes(rows, target, task)
    if wrong is None or happened is None:
        return None
    # Of two classes, what is wrong is too high where the first one is right, else too low.
    return wrong * (1 - 2 * happened)


def _finite(values: Doubles) -> Doubles:
    """With NaN for what is infinite, or too large to be squared."""
    return np.where(np.abs(values) < LARGEST, values, np.nan)


def tamed(errors: Doubles) -> Doubles:
    """With wild ones counted as several times the usual one: a few must not make a group."""
    known = np.abs(errors[np.isfinite(errors)])
    most = WILD * float(np.median(known)) if known.size else 0.0
    return np.clip(errors, -most, most) if most > 0 else errors


def _texts(values: NDArray[np.float64] | NDArray[np.object_]) -> NDArray[np.object_]:
    if values.dtype == object:
        return values.astype(object)
    return np.array([None if one != one else f"{one:g}" for one in values], dtype=object)


def _classes(values: NDArray[np.float64] | NDArray[np.object_]) -> tuple[list[str], Ints]:
    """Different labels, sorted, and the number of each row's; -1 where there is none."""
    texts = _texts(values)
    if values.dtype == object:
        different = sorted({one for one in texts if one is not None})
    else:
        different = [f"{one:g}" for one in np.unique(values[np.isfinite(values.astype(float))].astype(float))]
    place = {one: code for code, one in enumerate(different)}
    return different, np.array([place.get(one, -1) for one in texts], np.int64)


def gap(inside: Doubles, outside: Doubles, z: float) -> tuple[float, float]:
    """Interval of the difference of two means; of shares that of Newcombe (1998), else of Welch."""
    if inside.size < 2 or outside.size < 2:
        return float("nan"), float("nan")
    difference = float(inside.mean() - outside.mean())
    if _are_shares(inside) and _are_shares(outside):
        low, high = wilson(float(inside.mean()), inside.size, z)
        below, above = wilson(float(outside.mean()), outside.size, z)
        return (
            difference - float(np.hypot(inside.mean() - low, above - outside.mean())),
            difference + float(np.hypot(high - inside.mean(), outside.mean() - below)),
        )
    # The spread of all: a group that happens to be all alike is not known any better.
    together = np.concatenate([inside - inside.mean(), outside - outside.mean()])
    error = float(np.sqrt(max(inside.var(), together.var()) / inside.size + outside.var() / outside.size))
    # As Student's t: in few rows the spread itself is uncertain (first term of its expansion by Fisher and Cornish).
    z += (z**3 + z) / (4 * (min(inside.size, outside.size) - 1))
    return difference - z * error, difference + z * error


def wilson(share: float, rows: int, z: float) -> tuple[float, float]:
    """Interval of a share, of E. Wilson (1927)."""
    middle = share + z**2 / (2 * rows)
    half = z * float(np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)))
    return (middle - half) / (1 + z**2 / rows), (middle + half) / (1 + z**2 / rows)


def _are_shares(values: Doubles) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _interval(values: Doubles) -> tuple[float, float]:
    """95 % interval of the mean."""
    if values.size < 2:
        return float("nan"), float("nan")
    if _are_shares(values):
        return wilson(float(values.mean()), values.size, 1.96)
    half = 1.96 * float(values.std() / np.sqrt(values.size))
    return float(values.mean()) - half, float(values.mean()) + half


def joint_z(intervals: int) -> float:
    """Standard errors of intervals that hold all together."""
    return NormalDist().inv_cdf(1 - SURE / (2 * max(1, intervals)))


def groups(rows: Rows, target: str, task: str, sensitive: Sequence[str], predictions: str) -> Groups | None:
    """The groups of sensitive columns, and of each two of them; None where there is no such column.

    Args:
        rows: the sample.
        target: the column to be predicted; may be empty.
        task: `classification`, `regression`, or empty.
        sensitive: the columns.
        predictions: the column with a model's predictions; may be empty.
    """
    sorted_out = [one for name in sensitive if name in rows.values if (one := parts(name, rows.values[name]))]
    if not sorted_out:
        return None
    happened, what = outcomes(rows, target, task)
    missed, how = errors(rows, target, task, predictions)
    leaning = leanings(rows, target, task, predictions)
    if task == "regression" and missed is not None:
        missed = tamed(missed)
    masks: list[tuple[tuple[str, ...], tuple[str, ...], Truths]] = [
        ((part.column,), (name,), part.codes == code) for part in sorted_out for code, name in enumerate(part.names)
    ]
    masks += [
        ((a.column, b.column), (first, second), (a.codes == i) & (b.codes == j))
        for a, b in combinations(sorted_out, 2)
        for i, first in enumerate(a.names)
        for j, second in enumerate(b.names)
    ]
    masks = sorted(masks, key=lambda one: (len(one[0]), -int(one[2].sum())))[:MOST_GROUPS]
    compared = sum(one is not None for one in (happened, missed, leaning))
    z = joint_z(compared * sum(int(FEWEST <= mask.sum() <= rows.count - FEWEST) for _, _, mask in masks))
    known = np.zeros(1) if happened is None else happened[np.isfinite(happened)]
    spread = float(known.std()) if known.size else 0.0
    found = []
    for columns, values, mask in masks:
        outcome, outcome_interval, outcome_gap = _compared(happened, mask, z)
        error, error_interval, error_gap = _compared(missed, mask, z)
        lean, _, lean_gap = _compared(leaning, mask, z)
        if task == "regression":
            lean_gap = _over(lean_gap, _mean(missed, ~mask))
            outcome_gap = _over(outcome_gap, spread)
            error_gap = _over(error_gap, _mean(missed, ~mask))
        intervals = outcome_interval, error_interval, outcome_gap, error_gap
        found.append(Group(columns, values, int(mask.sum()), outcome, error, *intervals, lean, lean_gap))
    return Groups(tuple(found), rows.count, what, how)


def _mean(values: Doubles | None, mask: Truths) -> float:
    """Of these rows where it is known; 0 where it never is."""
    known = np.zeros(0) if values is None else values[mask & np.isfinite(values)]
    return float(known.mean()) if known.size else 0.0


def _over(interval: tuple[float, float], scale: float) -> tuple[float, float]:
    return (interval[0] / scale, interval[1] / scale) if scale > 0 else (float("nan"), float("nan"))


def _compared(
    values: Doubles | None, mask: Truths, z: float
) -> tuple[float, tuple[float, float], tuple[float, float]]:  # fmt: skip
    """Mean within, its interval, and that of its difference to the mean of the others."""
    unknown = float("nan"), float("nan")
    if values is None:
        return float("nan"), unknown, unknown
    inside = values[mask & np.isfinite(values)]
    outside = values[~mask & np.isfinite(values)]
    if not inside.size:
        return float("nan"), unknown, unknown
    told = gap(inside, outside, z) if min(inside.size, outside.size) >= FEWEST else unknown
    return float(inside.mean()), _interval(inside), told
