"""Vectors of a second set that lie elsewhere than those of training, as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Place, Severity
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.comparable import comparable
from stethoscope.facts.data import Data, Profile
from stethoscope.facts.statistics import gap_band, gap_chance
from stethoscope.rules.budget import SHARES
from stethoscope.rules.columns import named, of_words
from stethoscope.rules.preparing import sampled
from stethoscope.rules.shifting import percent
from stethoscope.rules.sites import code
from stethoscope.rules.two_sets import two_sets
from stethoscope.rules.vectors import vectors

Doubles = NDArray[np.float64]

FEATURES = 512
"""Random Fourier features."""
MOST_ROWS = 4000
"""Of each set: half of them find the direction, half of them are judged."""


_NEXT_TO_TOLERANCE = (0.051, 40, 4000)
_WITHIN = (0.05, 40, 4000)


@lru_cache(maxsize=8)
def _clouds(shift: float, columns: int = 40, rows: int = 1000) -> Data:
    """Two clouds of points, one of them moved in all coordinates."""
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, rows, columns)).astype(np.float32).astype(np.float64)
    values = {f"x{i}": (first[:, i], second[:, i] + shift) for i in range(columns)}
    small = {name: (pair[0][:20].tolist(), pair[1][:20].tolist()) for name, pair in values.items()}
    return sampled(two_sets(small), values)


def _beside_others() -> Data:
    """Forty columns that have moved, beside ten of words."""
    moved = _clouds(0.3)
    assert moved.test is not None
    words = tuple(of_words(f"word {place}", {"x": 10, "y": 10}) for place in range(10))
    first, second = (
        replace(one, profile=Profile(20, (*one.profile.columns, *words))) for one in (moved.train, moved.test)
    )
    return Data(first, second)


class EmbeddingShift(Rule):
    """The vectors of the second set lie elsewhere than those of the training set, taken as a whole.

    ## What it sees
    Tables that are nearly all numbers, with many columns, and columns whose names begin alike and end in running
    numbers, such as embeddings: what their coordinates show one by one follows from it. Random Fourier features of one
    half of the sampled rows give the direction in which the sets differ most (the witness of the maximum mean
    discrepancy); the other half is projected on it, and there it is asked how many rows lie elsewhere, as of a single
    column.
    ## Why it hurts
    A model built on these vectors answers for a region that it has hardly seen.
    ## How to fix it
    Make both sets by the same version of the same model and the same preparation. Where the difference is real, train
    on rows of both kinds.
    ## When it is not a fault
    A second set that is of another kind on purpose.
    ## Sources
    A. Gretton et al., "A kernel two-sample test", JMLR 13, 2012.
    J. M. Kübler et al., "A witness two-sample test", AISTATS 2022 (one half finds, one half judges: no permutations).
    A. Rahimi and B. Recht, "Random features for large-scale kernel machines", NIPS 2007.
    """

    severity = Severity.WARNING
    explains = ("distribution-shift",)

    fewest_columns = Limit(32, unit="columns of numbers", why="fewer are judged one by one, and by a classifier")
    tolerance = Limit(0.05, unit="share of the rows that lie elsewhere", why="as of any single column")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Project the rows of both samples on what tells them apart."""
        if seen.test is None:
            yield self.cannot_tell("there is only one data set")
            return
        pairs = comparable(seen)
        numbers = [one for one, other in pairs if one.kind == "number" and other.kind == "number"]
        names = [column.name for column in numbers]
        numbered = vectors(numbers, self.fewest_columns)
        if numbered:
            names = list(sorted(numbered, key=len)[-1])
        elif len(names) < self.fewest_columns or len(names) < 0.9 * len(seen.inputs(seen.train)):
            yield self.cannot_tell("the rows are no vectors: there are few columns of numbers, or others beside them")
            return
        first, second = (_vectors(each.sample.values, names) for each in seen.sets)
        rows = min(len(first), len(second)) // 2
        if rows < 20 or self.tolerance + gap_band(SHARES[self.name], rows, rows) > 0.5:
            yield self.cannot_tell(f"{min(len(first), len(second))} rows without missing values were sampled")
            return
        size, judged = _gap(first, second)
        if size > self.tolerance and gap_chance(size - self.tolerance, *judged) <= SHARES[self.name]:
            yield self._report(seen, size, judged, names, bool(numbered))

    def _report(self, seen: Data, size: float, rows: tuple[int, int], names: list[str], is_vector: bool) -> Finding:
        assert seen.test is not None
        band = gap_band(0.05, *rows)
        return self.finding(
            f"vectors of the second set lie elsewhere: {percent(size)} of the rows",
            place=Place(file=seen.test.name, columns=tuple(names) if is_vector else None),
            evidence=[
                Evidence(
                    "rows that lie elsewhere along the direction that tells the sets apart",
                    f"{percent(size)} ({percent(max(0.0, size - band))} to {percent(min(1.0, size + band))})",
                    f"at most {percent(self.tolerance)}",
                    (f"{named(names[0])} to {named(names[-1])}; " if is_vector else f"{len(names)} columns; ")
                    + f"{rows[0]:,} and {rows[1]:,} rows that did not choose the direction",
                )
            ],
            cause=f"The rows of `{seen.test.name}` are another cloud of points than those of `{seen.train.name}`: "
            "another model or preparation made them, or what they stand for has changed.",
            fixes=[
                Fix(
                    "See whether both were made alike:\n"
                    + code("print(train.mean(), train.std())", "print(test.mean(), test.std())")
                )
            ],
            unless="the second set is of another kind on purpose.",
        )

    bad = Examples(lambda: {
        "all moved a little": _clouds(0.3),
        "an embedding beside other columns": _beside_others(),
        "as few columns as can be told": _clouds(0.3, columns=32),
        "next to the tolerance": _clouds(*_NEXT_TO_TOLERANCE),
    })  # fmt: skip
    good = Examples(lambda: {
        "the same": _clouds(0.0),
        "31 columns": _clouds(0.3, columns=31),
        "few rows": _clouds(0.3, rows=30),
        "just within the tolerance": _clouds(*_WITHIN),
    })  # fmt: skip


def _vectors(values: object, names: list[str]) -> Doubles:
    """(rows, columns) without rows in which something is missing; at most MOST_ROWS of them, from all over."""
    assert hasattr(values, "get")
    columns = [values.get(name) for name in names]
    if any(each is None or each.dtype == object for each in columns):
        return np.zeros((0, len(names)))
    table = np.stack(columns, axis=1).astype(np.float64)
    table = table[np.isfinite(table).all(axis=1)]
    return table[np.linspace(0, len(table) - 1, min(len(table), MOST_ROWS)).astype(np.int64)] if len(table) else table


def _gap(first: Doubles, second: Doubles) -> tuple[float, tuple[int, int]]:
    """The largest difference of the projected rows that did not choose the direction, and how many they are."""
    spread = first.std(axis=0)
    first, second = first[:, spread > 0], second[:, spread > 0]
    centre, spread = first.mean(axis=0), spread[spread > 0]
    random = np.random.default_rng(0)
    halves = [random.permutation(len(each)) for each in (first, second)]
    clouds = [np.clip((each - centre) / spread, -10, 10) for each in (first, second)]
    width = _median_distance(clouds, random)
    waves = random.normal(size=(clouds[0].shape[1], FEATURES)) / width
    phases = random.uniform(0, 2 * np.pi, FEATURES)
    features = [np.cos(each @ waves + phases) for each in clouds]
    cuts = [len(each) // 2 for each in clouds]
    chosen = [each[half[:cut]] for each, half, cut in zip(features, halves, cuts, strict=True)]
    witness = chosen[1].mean(axis=0) - chosen[0].mean(axis=0)
    one, other = (np.sort(each[half[cut:]] @ witness) for each, half, cut in zip(features, halves, cuts, strict=True))
    every = np.concatenate([one, other])
    below = [np.searchsorted(each, every, side="right") / len(each) for each in (one, other)]
    return float(np.abs(below[0] - below[1]).max()), (len(one), len(other))


def _median_distance(clouds: list[Doubles], random: np.random.Generator) -> float:
    """Of pairs of rows from both sets: the usual width of the kernel."""
    both = np.concatenate(clouds)
    pairs = random.integers(len(both), size=(2, 2000))
    distances = np.linalg.norm(both[pairs[0]] - both[pairs[1]], axis=1)
    return float(np.median(distances)) or 1.0
