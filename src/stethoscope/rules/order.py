"""How batches follow the order of their targets: measures that are 1 and 0 after a shuffle."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from stethoscope.facts.training import Batches, Doubles, History


def as_two_classes(seen: History) -> Batches:
    """The batches with targets of 0 and 1, one for each sample, counted as classes; as they are for others."""
    batches, loss = seen.batches, seen.main_loss()
    if loss is None or not loss.target_shape or (loss.target_min, loss.target_max) != (0.0, 1.0):
        return batches
    means = batches.target_means
    only_two = np.allclose(batches.target_variances, means * (1 - means), atol=1e-6)
    if math.prod(loss.target_shape) != loss.target_shape[0] or not only_two:
        return batches
    ones = np.rint(means * batches.sizes).astype(np.int64)
    return replace(batches, class_counts=np.stack([batches.sizes - ones, ones], axis=1))


def mixing(batches: Batches) -> float:
    """Chance that two labels of one batch differ, over that of any two labels; 1 after a shuffle."""
    counts = batches.class_counts.astype(np.float64)
    sizes = counts.sum(axis=1)
    pairs = float(np.sum(sizes * (sizes - 1)))
    total = float(sizes.sum())
    if pairs == 0:
        return 1.0
    inside = 1 - float(np.sum(counts * (counts - 1))) / pairs
    of_class = counts.sum(axis=0)
    overall = 1 - float(np.sum(of_class * (of_class - 1))) / (total * (total - 1))
    return inside / overall


def resemblance(batches: Batches) -> float:
    """How much more a batch's mix overlaps with the next one's than with any other's; 0 after a shuffle."""
    counts = batches.class_counts.astype(np.float64)
    mixes: Doubles = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    near = np.flatnonzero(np.diff(batches.steps) == 1)
    next_to = float(np.minimum(mixes[near], mixes[near + 1]).sum(axis=1).mean())
    chosen = mixes[np.linspace(0, len(mixes) - 1, min(len(mixes), 100)).astype(int)]
    every = np.minimum(chosen[:, None], chosen[None]).sum(axis=2)
    any_two = float(every[np.triu_indices(len(chosen), 1)].mean())
    return (next_to - any_two) / (1 - any_two) if any_two < 1 else 0.0


def repeats(batches: Batches) -> float:
    """Share of the batches looked at whose very samples, in the same batch, were met at another step too."""
    if not batches.fingerprints.size:
        return 0.0
    _, which, times = np.unique(batches.fingerprints, return_inverse=True, return_counts=True)
    return float(np.mean(times[which] > 1))


def mixing_of_numbers(batches: Batches) -> float:
    """Variance of the targets within a batch, over that of all; 1 after a shuffle, nearly 0 when they are sorted."""
    sizes = np.maximum(batches.sizes, 2)
    within = float(np.mean(batches.target_variances * sizes / (sizes - 1)))
    overall = float(np.mean(batches.target_variances) + np.var(batches.target_means))
    return within / overall if overall > 0 else 1.0


def resemblance_of_numbers(batches: Batches) -> float:
    """How much nearer the mean target of a batch is to that of the next than to any other's; 0 after a shuffle."""
    means = batches.target_means
    near = np.flatnonzero(np.diff(batches.steps) == 1)
    variance = float(np.var(means))
    if not near.size or not variance > 0:
        return 0.0
    return 1 - float(np.mean((means[near + 1] - means[near]) ** 2)) / (2 * variance)


def one_way(batches: Batches) -> float:
    """Share of consecutive batches whose mean targets go in the direction that most take."""
    means = batches.target_means
    near = np.flatnonzero(np.diff(batches.steps) == 1)
    up = float(np.mean(means[near + 1] > means[near])) if near.size else 0.5
    return max(up, 1 - up)
