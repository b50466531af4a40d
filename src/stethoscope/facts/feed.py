"""What is fed to the models: scale and features of inputs, sizes and targets of batches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.code import Site

Integers = NDArray[np.int64]
Doubles = NDArray[np.float64]


def _no_steps() -> Integers:
    return np.zeros(0, np.int64)


def _no_values() -> Doubles:
    return np.zeros(0, np.float64)


@dataclass(frozen=True)
class Inputs:
    """What was fed to a model while it trained (first tensor argument, but for `beside`), over the looks."""

    model: int = 0
    shape: tuple[int, ...] = ()
    dtype: str = ""
    looks: int = 0
    rows: int = 0
    """Rows that the feature statistics come from."""
    mean: float = float("nan")
    std: float = float("nan")
    smallest: float = float("nan")
    largest: float = float("nan")
    nonfinite_share: float = 0.0
    feature_means: Doubles = field(default_factory=_no_values)
    """(features,), of the last axis when the input has two axes, of the channel axis when it has more."""
    feature_stds: Doubles = field(default_factory=_no_values)
    first_layer: str = ""
    """Class name of the first layer called on it."""
    standardized: int = 0
    """Of the looks, those at a batch with mean 0 and spread 1 by itself, to three digits: in each of its features (two
    axes), or as a whole."""
    site: Site | None = None
    """The user's line of the forward call; only for inputs of passes without gradients."""
    beside: bool = False
    """Whether it is a table of numbers that a model is given after a first argument of integers."""


@dataclass(frozen=True)
class Batches:
    """The batches of the training stream that were looked at, in order."""

    steps: Integers = field(default_factory=_no_steps)
    sizes: Integers = field(default_factory=_no_steps)
    """Length of the first axis of the targets: in language models often tokens, not samples."""
    fingerprints: Integers = field(default_factory=_no_steps)
    """A checksum of sampled input values: equal inputs have equal ones."""
    class_counts: Integers = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    """(batches, classes): labels in each batch; (0, 0) when targets are no class indices."""
    label_changes: Integers = field(default_factory=_no_steps)
    """Number of neighbours within the batch whose labels differ."""
    target_means: Doubles = field(default_factory=_no_values)
    """For targets that are no classes."""
    target_variances: Doubles = field(default_factory=_no_values)
    """Within each batch."""
    samples: Integers = field(default_factory=_no_steps)
    """Samples in each batch: as `sizes`, but for targets laid out as (samples x positions, ...)."""
