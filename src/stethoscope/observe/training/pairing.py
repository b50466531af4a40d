"""Do targets follow from inputs? Asks simple models that know nothing of the network, and chance itself.

Each test is repeated with the targets in random order: what it gets right then is chance, with its spread. Nothing
here draws from a random state of the user's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.samples import Samples

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]

MOST_TESTED = 600
FEWEST_TESTED = 100
NEIGHBOURS = 5
ORDERS = 24
"""Random orders of the targets that show what chance gives."""
ORDERS_OF_COLUMNS = 64
"""The same for single columns, where the largest of many counts: its spread needs more of them."""


@dataclass(frozen=True)
class Score:
    """What one test got right, beside what it gets right by chance."""

    seen: float
    chance: float
    deviations: float


@dataclass(frozen=True)
class Sure:
    """What neighbours and the linear model say of classes together."""

    named: float = math.nan
    rows: int = 0
    contradicted: int = 0


def paired(rows: Any, targets: Any, classes: bool, of_first: int) -> Samples:
    """The fields of `Samples` that say how targets follow from rows; `tested` is 0 when nothing can be said.

    Args:
        rows: (samples, features), different from one another.
        targets: (samples,), class indices or numbers.
        classes: which of the two.
        of_first: columns that belong to the first input; a later one may be the target itself.
    """
    if len(rows) < FEWEST_TESTED:
        return Samples()
    picked = np.linspace(0, len(rows) - 1, min(len(rows), MOST_TESTED)).astype(int)
    features, answers = np.asarray(rows[picked], np.float64), np.asarray(targets[picked])
    finite = np.isfinite(features).all(axis=1) & np.isfinite(answers)
    features, answers = features[finite], answers[finite]
    if len(features) < FEWEST_TESTED or np.ptp(answers) == 0:
        return Samples()
    kinds, codes = np.unique(answers, return_inverse=True)
    wanted = np.eye(len(kinds))[codes] if classes else _standard(answers[:, None].astype(np.float64))
    scaled = _standard(features)
    varying = np.flatnonzero(scaled.any(axis=0))
    scaled = scaled[:, varying]
    if not scaled.size or (classes and len(kinds) > len(features) // 4):
        return Samples()
    every = np.random.default_rng(0).permuted(np.tile(np.arange(len(wanted)), (ORDERS_OF_COLUMNS, 1)), axis=1)
    orders = every[:ORDERS]
    products = scaled @ scaled.T
    nearest = _neighbours(products)
    neighbours = _score(lambda truth: truth[nearest].mean(axis=1), wanted, orders, classes)
    weights = _left_out(products)
    linear = _score(lambda truth: weights @ truth, wanted, orders, classes)
    sure = _together(wanted, nearest, weights) if classes else Sure()
    shares = _explained(scaled[:, varying < of_first], wanted, classes)
    single_features = _with_summaries(scaled, features)
    by_chance = [_largest(single_features, wanted[order], classes) for order in every]
    best = _largest(single_features, wanted, classes)
    single = (best - float(np.mean(by_chance))) / max(float(np.std(by_chance)), 1e-9)
    column = int(varying[shares.argmax()]) if shares.size else -1
    return Samples(
        tested=len(features),
        classes=len(kinds) if classes else 0,
        majority=float(np.bincount(codes).max() / len(codes)),
        neighbours=neighbours.seen,
        neighbours_chance=neighbours.chance,
        linear=linear.seen,
        linear_chance=linear.chance,
        named=sure.named,
        surest=sure.rows,
        contradicted=sure.contradicted,
        relation=max(neighbours.deviations, linear.deviations, single),
        giveaway=column,
        giveaway_share=float(shares.max()) if shares.size else math.nan,
        giveaway_kinds=len(np.unique(features[:, column])) if shares.size else 0,
        second_share=float(np.median(shares)) if shares.size else math.nan,
    )


def _together(wanted: Numbers, nearest: Integers, weights: Numbers) -> Sure:
    """How many of the rows of which both are the surest have another class than they say."""
    prior = wanted.mean(axis=0)
    lines = np.clip(prior + weights @ (wanted - prior), 0, 1)
    told = wanted[nearest].mean(axis=1) + lines / np.maximum(lines.sum(axis=1, keepdims=True), 1e-9)
    right = told.argmax(axis=1) == wanted.argmax(axis=1)
    half = np.argsort(-told.max(axis=1), kind="stable")[: len(wanted) // 2]
    return Sure(float(right.mean()), len(half), int((~right[half]).sum()))


def _standard(values: Numbers) -> Numbers:
    """Columns with mean 0 and variance 1; constant ones are 0."""
    spread = values.std(axis=0)
    tiny = spread <= 1e-7 * np.maximum(1.0, np.abs(values.mean(axis=0)))
    return np.where(tiny, 0.0, (values - values.mean(axis=0)) / np.where(tiny, 1.0, spread))


def _with_summaries(scaled: Numbers, features: Numbers) -> Numbers:
    """The features, and what a row is like as a whole: its level, size, extremes and roughness."""
    steps = np.abs(np.diff(features, axis=1)).mean(axis=1) if features.shape[1] > 1 else np.zeros(len(features))
    whole = [features.mean(axis=1), features.std(axis=1), features.min(axis=1), features.max(axis=1), steps]
    return np.hstack([scaled, scaled**2 - 1, _standard(np.stack(whole, axis=1))])


def _neighbours(products: Numbers) -> Integers:
    """(samples, 5): the nearest other rows of each, from the inner products of all rows."""
    squares = np.diag(products)
    distances = products * -2.0
    distances += squares[:, None]
    distances += squares[None]
    np.fill_diagonal(distances, np.inf)
    return np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS].copy()


def _left_out(products: Numbers) -> Numbers:
    """(samples, samples): each row is the answer of a ridge regression on all other rows.

    With H = K (K + rI)^-1 = I - r (K + rI)^-1, leaving row i out gives H_ij / (1 - H_ii) for j != i; r cancels.
    Overwrites the products: at 600 samples each matrix takes 3 MB.
    """
    ridge = 0.1 * np.trace(products) / len(products)
    np.einsum("ii->i", products)[:] += ridge
    weights = np.asarray(np.linalg.inv(products), np.float64)
    weights /= -np.diag(weights)[:, None]
    np.fill_diagonal(weights, 0.0)
    return weights


def _score(answer: Callable[[Numbers], Numbers], wanted: Numbers, orders: Any, classes: bool) -> Score:
    centre = wanted.mean(axis=0) if classes else np.zeros(1)

    def right(truth: Numbers) -> float:
        given = answer(truth - centre)
        if classes:
            return float((given.argmax(axis=1) == truth.argmax(axis=1)).mean())
        return float(np.corrcoef(given[:, 0], truth[:, 0])[0, 1]) if given.std() > 0 else 0.0

    by_chance = [right(wanted[order]) for order in orders]
    seen, chance = right(wanted), float(np.mean(by_chance))
    return Score(seen, chance, (seen - chance) / max(float(np.std(by_chance)), 1e-9))


def _largest(scaled: Numbers, wanted: Numbers, classes: bool) -> float:
    """Cube root of the largest share that the target explains of a feature's variance.

    By chance a share is about chi-squared over the rows, whose cube root is nearly normal (Wilson and Hilferty, PNAS
    1931): deviations of the share itself have a long tail, in which labels in random order lie too often.
    """
    return float(np.cbrt(_explained(scaled, wanted, classes).max()))


def _explained(scaled: Numbers, wanted: Numbers, classes: bool) -> Numbers:
    """(features,): share of each feature's variance that the target explains."""
    variance = np.einsum("ij,ij->j", scaled, scaled) / len(scaled)
    if classes:
        counts = wanted.sum(axis=0)
        means = (wanted.T @ scaled) / counts[:, None]
        between = (counts[:, None] * means**2).sum(axis=0) / len(wanted)
    else:
        between = ((wanted * scaled).mean(axis=0)) ** 2
    return np.asarray(between / np.maximum(variance, 1e-12))
