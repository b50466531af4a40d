"""How well each column alone tells the target: learned on one half of the sampled rows, tried on the other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Rows, Tie
from stethoscope.facts.statistics import share_interval

BINS = 24
"""Stretches of a column of numbers, each with as many rows: enough for any threshold, few enough to be learned."""
PURER = 0.25
"""Of the rows of a stretch that are not of its commonest class, the share that may be left so where it is cut in two: a
class that begins within a stretch would else be told of all but these rows, and a copy of the target missed."""
FEW, MOST = 0.01, 0.15
"""Where so few rows have so much of a target's variance (of a normal one 0.08, of an exponential one 0.22), its ranks
are told: else it hangs on these rows alone, and stretches of an exact copy tell half of it."""
FEWEST_ROWS = 40
"""Half of them are tried: fewer tell nothing."""
LARGEST_SHARE_OF_WORDS = 0.5
"""Columns of text with more different values than this share of the rows are names: nothing can be learned of them."""
Z = 1.96
"""Standard errors of a 95 % interval."""


def ties(rows: Rows, target: str, task: str, others: tuple[str, ...] = ()) -> tuple[Tie, ...]:
    """The ties of all columns of the sample to the target, strongest first.

    Args:
        rows: the sample.
        target: the column to be predicted.
        task: `classification` or `regression`.
        others: columns that are no inputs (predictions).
    """
    if target not in rows.values or rows.count < FEWEST_ROWS:
        return ()
    truth, known = _target(rows.values[target], task)
    if truth.size < FEWEST_ROWS or len(np.unique(truth)) < 2:
        return ()
    if task != "classification":
        truth = _evened(truth)
    learns = np.random.default_rng(0).permutation(truth.size) % 2 == 0
    found = []
    for name, values in rows.values.items():
        if name == target or name in others:
            continue
        cells = _cells(values[known], learns, truth if task == "classification" else None)
        if cells is not None:
            strength, low = _tried(cells, truth, learns, task)
            found.append(Tie(name, strength, low, int((~learns).sum())))
    return tuple(sorted(found, key=lambda tie: (-tie.strength, tie.column)))


def _target(
    values: NDArray[np.float64] | NDArray[np.object_], task: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The target as numbers (of its classes, for a classification) where it is known, and where that is."""
    if values.dtype == object:
        known = np.array([one is not None for one in values], bool)
        _, codes = np.unique(values[known].astype(str), return_inverse=True)
        return codes.astype(np.float64), known
    numbers = np.asarray(values, np.float64)
    known = np.isfinite(numbers)
    if task == "classification":
        _, codes = np.unique(numbers[known], return_inverse=True)
        return codes.astype(np.float64), known
    return numbers[known], known


def _evened(target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ranks of a target that a few rows dominate; any other one as it is."""
    off = np.sort((target - target.mean()) ** 2)[::-1]
    if not off[: max(1, int(FEW * off.size))].sum() > MOST * off.sum():
        return target
    _, codes, counts = np.unique(target, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - counts / 2)[codes] / target.size
    return ranks


def _cells(
    values: NDArray[np.float64] | NDArray[np.object_],
    learns: NDArray[np.bool_],
    classes: NDArray[np.float64] | None = None,
) -> NDArray[np.int64] | None:
    """The cell of each row: a stretch of numbers, or a value; what is missing has a cell of its own.

    Args:
        values: (rows,) of a column.
        learns: (rows,), those that the stretches are made by.
        classes: (rows,) of the target, where it has such.
    """
    if values.dtype == object:
        words = values.tolist()  # an array of texts would take the room of the longest one for each
        number: dict[str, int] = {}
        cell = {one: number.setdefault("" if one is None else str(one), len(number)) for one in dict.fromkeys(words)}
        if len(number) > LARGEST_SHARE_OF_WORDS * values.size:
            return None
        return np.fromiter(map(cell.__getitem__, words), np.int64, values.size)
    numbers = np.asarray(values, np.float64)
    usable = learns & np.isfinite(numbers)
    learned = numbers[usable]
    if not learned.size:
        return None
    different = np.unique(learned)
    edges = (
        (different[1:] + different[:-1]) / 2
        if different.size <= BINS
        else np.unique(np.quantile(learned, np.linspace(0, 1, BINS + 1)[1:-1]))
    )
    if classes is not None and different.size > BINS:
        edges = np.union1d(edges, _borders(learned, classes[usable], edges))
    cells = np.searchsorted(edges, numbers, side="right")
    return np.where(np.isfinite(numbers), cells, edges.size + 1)


def _borders(values: NDArray[np.float64], classes: NDArray[np.float64], edges: NDArray[np.float64]) -> list[float]:
    """Where one class ends within a stretch and another one begins."""
    order = np.argsort(values, kind="stable")
    values, classes = values[order], classes[order]
    found = []
    for first, last in pairwise([0, *np.searchsorted(values, edges), values.size]):
        some, here = values[first:last], classes[first:last]
        if here.size < 2 or here.min() == here.max():
            continue
        present, codes, counts = np.unique(here, return_inverse=True, return_counts=True)
        others = here.size - int(counts.max())
        if others < 2:
            continue
        below = np.cumsum(codes[:-1, None] == np.arange(present.size), axis=0)
        left = here.size - below.max(1) - (counts - below).max(1)
        left[some[1:] == some[:-1]] = here.size
        best = int(left.argmin())
        if left[best] <= PURER * others:
            found.append(float((some[best] + some[best + 1]) / 2))
    return found


def _tried(
    cells: NDArray[np.int64], truth: NDArray[np.float64], learns: NDArray[np.bool_], task: str
) -> tuple[float, float]:  # fmt: skip
    """Share of what guessing gets wrong that the cells put right, and the lower end of its interval."""
    size = int(cells.max()) + 1
    tried = ~learns
    if task == "classification":
        classes = int(truth.max()) + 1
        table = np.zeros((size, classes))
        np.add.at(table, (cells[learns], truth[learns].astype(np.int64)), 1)
        guess = table.sum(0).argmax()
        answers = np.where(table.sum(1) > 0, table.argmax(1), guess)
        wrong = answers[cells[tried]] != truth[tried]
        blind = truth[tried] != guess
        if not blind.any():
            return 0.0, 0.0
        share, base = wrong.mean(), blind.mean()
        worst = share_interval(float(wrong.sum()), float(wrong.size))[1]
        return max(0.0, float(1 - share / base)), max(0.0, float(1 - worst / base))
    counts = np.bincount(cells[learns], minlength=size)
    sums = np.bincount(cells[learns], weights=truth[learns], minlength=size)
    mean = truth[learns].mean()
    answers = np.where(counts > 0, sums / np.maximum(counts, 1), mean)
    errors = (truth[tried] - answers[cells[tried]]) ** 2
    spread = ((truth[tried] - mean) ** 2).mean()
    if spread <= 0:
        return 0.0, 0.0
    deviation = errors.std() / np.sqrt(errors.size)
    return max(0.0, float(1 - errors.mean() / spread)), max(0.0, float(1 - (errors.mean() + Z * deviation) / spread))
