"""What differs among several recorded runs, and which difference goes with the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.run import RunRecord
from stethoscope.facts.statistics import mean_ranks
from stethoscope.store.comparing import differing

Doubles = NDArray[np.float64]

FEWEST_RUNS = 6
"""With five runs even a perfect order, up or down, comes about by chance once in 60: more often than is let pass."""
TRIALS = 2000
CHANCE = 0.01
"""Of the relation under a shuffle of the results: some ten settings are looked at."""
PREFERRED = ("best validation loss", "best validation accuracy", "best training loss", "final training loss")


@dataclass(frozen=True)
class Relation:
    """A setting that goes with the result."""

    subject: str
    name: str
    strength: float
    """Rank correlation (numbers), or the share of the result's variance between groups (all else)."""
    is_number: bool
    chance: float
    """Of a relation as strong, were the results shuffled."""


@dataclass(frozen=True)
class Several:
    """Runs side by side."""

    runs: tuple[RunRecord, ...]
    settings: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Subject, name, and the value of each run, where they are not all the same."""
    results: tuple[tuple[str, tuple[float, ...]], ...]
    """Name, and the value of each run; NaN where it has none."""
    result: str = ""
    """The result that relations are about."""
    relations: tuple[Relation, ...] = ()
    """Strongest first."""


def compare_many(runs: Sequence[RunRecord]) -> Several:
    """Put runs side by side, and say which differences go with the result: not that they cause it."""
    settings = tuple(differing(runs))
    names = list(dict.fromkeys(name for run in runs for name in run.results))
    results = tuple((name, tuple(float(run.results.get(name, np.nan)) for run in runs)) for name in names)
    known = dict(results)
    result = next((name for name in PREFERRED if np.isfinite(known.get(name, (np.nan,))).sum() >= FEWEST_RUNS), "")
    relations = []
    if result:
        told: set[tuple[str, ...]] = set()
        for subject, name, values in settings:
            if values in told:  # an argument, and the setting that it became
                continue
            told.add(values)
            one = _relation(subject, name, values, np.array(known[result]))
            if one is not None and one.chance <= CHANCE:
                relations.append(one)
    return Several(
        tuple(runs),
        settings,
        results,
        result,
        tuple(sorted(relations, key=lambda one: (one.chance, -abs(one.strength)))),
    )


def _relation(subject: str, name: str, values: tuple[str, ...], result: Doubles) -> Relation | None:
    keep = np.isfinite(result)
    texts, result = np.array(values)[keep], result[keep]
    if len(set(texts.tolist())) < 2 or (len(set(texts.tolist())) == texts.size and not _numbers(texts).size):
        return None
    numbers, rng = _numbers(texts), np.random.default_rng(0)
    shuffles = [rng.permutation(result) for _ in range(TRIALS)]
    if numbers.size:
        ranks, seen = mean_ranks(numbers), abs(_correlation(mean_ranks(numbers), mean_ranks(result)))
        others = [abs(_correlation(ranks, mean_ranks(one))) for one in shuffles]
        strength = _correlation(ranks, mean_ranks(result))
    else:
        strength = seen = _between(texts, result)
        others = [_between(texts, one) for one in shuffles]
    chance = (1 + sum(one >= seen - 1e-12 for one in others)) / (1 + TRIALS)
    return Relation(subject, name, strength, bool(numbers.size), chance)


def _numbers(texts: NDArray[np.str_]) -> Doubles:
    """The values as numbers; empty where one is none."""
    try:
        return np.array([float(text) for text in texts])
    except ValueError:
        return np.zeros(0)


def _correlation(a: Doubles, b: Doubles) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def _between(texts: NDArray[np.str_], result: Doubles) -> float:
    total = float(((result - result.mean()) ** 2).sum())
    groups = [result[texts == text] for text in sorted(set(texts.tolist()))]
    return float(sum(one.size * (one.mean() - result.mean()) ** 2 for one in groups)) / total if total > 0 else 0.0
