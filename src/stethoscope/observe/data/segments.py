"""Where a model's errors are worst: searched on one half of the rows, measured on the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from stethoscope.facts.data import Rows, Segment
from stethoscope.observe.data.groups import FEWEST, Doubles, Ints, Parts, Truths, errors, gap, joint_z, parts, tamed

MOST_COLUMNS = 25
"""Columns that are combined to look for weak segments: 300 pairs."""
LEAST_SHARE = 0.02
"""Of the rows, that makes a segment."""
TRIED = 10
"""Segments that are tried on the other half."""
MOST_WEAK = 5


def weak_segments(
    rows: Rows, target: str, task: str, names: Sequence[str], predictions: str
) -> tuple[Segment, ...] | None:
    """Where the predictions are worst: found on one half of the rows, with the figures of the other one.

    The search for the worst cells of one column or two finds some in any data; the second half did not take part.

    Args:
        rows: the sample.
        target: the column to be predicted.
        task: `classification` or `regression`.
        names: the inputs, the most telling first.
        predictions: the column with the predictions.

    Returns:
        None without predictions, or with too few rows.
    """
    missed, _ = errors(rows, target, task, predictions)
    if missed is None:
        return None
    known = np.isfinite(missed)
    if known.sum() < 2 * FEWEST:
        return None
    first = np.random.default_rng(0).permutation(rows.count) % 2 == 0
    search, confirm = known & first, known & ~first
    if task == "regression":
        missed = tamed(missed)
    columns = [part for name in names if name in rows.values if (part := parts(name, rows.values[name]))]
    tried = _worst(columns[:MOST_COLUMNS], missed, search)
    z = joint_z(len(tried))
    found = []
    for chosen in tried:
        mask = _in(chosen)
        inside, outside = missed[confirm & mask], missed[confirm & ~mask]
        if min(inside.size, outside.size) < FEWEST:
            continue
        where = tuple((part.column, part.names[code]) for part, code in chosen)
        frame = " & ".join(part.frames[code] for part, code in chosen)
        told = gap(inside, outside, z)
        found.append(Segment(where, inside.size, float(inside.mean()), float(outside.mean()), told, frame))
    return tuple(sorted(found, key=lambda one: (-one.gap[0], one.where))[:MOST_WEAK])


Cell = tuple[tuple[Parts, int], ...]


def _in(cell: Cell) -> Truths:
    mask = np.ones(cell[0][0].codes.size, bool)
    for part, code in cell:
        mask &= part.codes == code
    return mask


def _worst(columns: Sequence[Parts], missed: Doubles, search: Truths) -> list[Cell]:
    """The cells whose mean error is most standard errors above the rest, each beyond what its parts say already."""
    error, least = missed[search], max(FEWEST, LEAST_SHARE * search.sum())
    mean, spread = float(error.mean()), float(error.std())
    if not spread > 0:
        return []
    scored: list[tuple[float, int, Cell]] = []
    single: dict[tuple[int, int], float] = {}
    for place, part in enumerate(columns):
        counts, z = _scores(part.codes[search], len(part.names), error, mean, spread)
        for code in range(len(part.names)):
            single[place, code] = z[code] if counts[code] >= least else 0.0
            if counts[code] >= least:
                scored.append((float(z[code]), len(scored), ((part, code),)))
    for (i, a), (j, b) in combinations(enumerate(columns), 2):
        size = len(b.names)
        together = np.where((a.codes < 0) | (b.codes < 0), -1, a.codes * size + b.codes)
        counts, z = _scores(together[search], len(a.names) * size, error, mean, spread)
        for cell in np.flatnonzero((counts >= least) & (z > 2)):
            one, other = divmod(int(cell), size)
            if z[cell] > 1.2 * max(single[i, one], single[j, other]):
                scored.append((float(z[cell]), len(scored), ((a, one), (b, other))))
    chosen: list[tuple[Cell, Truths]] = []
    for score, _, candidate in sorted(scored, key=lambda one: (-one[0], one[1])):
        if score <= 2 or len(chosen) == TRIED:
            break
        mask = _in(candidate)
        # Two cells of mostly the same rows are one segment.
        if all((mask & other).sum() < 0.5 * min(mask.sum(), other.sum()) for _, other in chosen):
            chosen.append((candidate, mask))
    return [candidate for candidate, _ in chosen]


def _scores(codes: Ints, size: int, error: Doubles, mean: float, spread: float) -> tuple[Ints, Doubles]:
    """Rows of each cell, and by how many standard errors their mean error is above the mean."""
    use = codes >= 0
    counts = np.bincount(codes[use], minlength=size)
    sums = np.bincount(codes[use], error[use], minlength=size)
    with np.errstate(all="ignore"):
        z = (sums / counts - mean) / (spread / np.sqrt(counts))
    return counts, np.where(counts > 0, z, 0.0)
