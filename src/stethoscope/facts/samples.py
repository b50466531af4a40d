"""Single rows of what is fed to models: their targets, whether they come again, and tokens beside their targets."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.code import Site

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


def _no_steps() -> Integers:
    return np.zeros(0, np.int64)


def _no_values() -> Doubles:
    return np.zeros(0, np.float64)


@dataclass(frozen=True)
class Samples:
    """Rows (samples) of the training stream, told apart by a checksum of each, beside their targets.

    Simple models that know nothing of the network were asked for the targets of rows that they had not seen. What
    they got right is given in standard deviations above what they get right with the same targets in random order.
    """

    rows: int = 0
    """Different rows seen in training; at most 60,000."""
    familiar: float = float("nan")
    """Share (0..1) of the rows looked at late that had been looked at before; near 1 when all rows are known."""
    features: int = 0
    """Values of a row that were looked at, at most 512."""
    shape: tuple[int, ...] = ()
    """Of the input, the first axis counts rows."""
    tested: int = 0
    """Different rows with a target each that the simple models were given; 0 when there were too few."""
    classes: int = 0
    """Different classes among them; 0 for targets that are numbers."""
    majority: float = float("nan")
    """Share of the most frequent class among them."""
    neighbours: float = float("nan")
    """Share that the five nearest other rows name rightly (for numbers: correlation of their mean with the target)."""
    neighbours_chance: float = float("nan")
    """The same with the targets in random order."""
    linear: float = float("nan")
    """Share that a linear model of all other rows names rightly (for numbers: correlation with the target)."""
    linear_chance: float = float("nan")
    named: float = float("nan")
    """Share of the classes that both together name rightly; nan for numbers."""
    surest: int = 0
    """Rows in the half of which both together are the surest."""
    contradicted: int = 0
    """Those of them whose class is another one."""
    relation: float = float("nan")
    """Standard deviations by which the best of three tests (neighbours, linear, single features) is above chance."""
    giveaway: int = -1
    """Index in the row of the feature most closely tied to the target; -1 when unknown."""
    giveaway_share: float = float("nan")
    """Share (0..1) of that feature's variance that the target explains."""
    giveaway_kinds: int = 0
    """Different values of that feature among the tested rows."""
    pairs: int = 0
    """Pairs of rows that were compared value by value."""
    near_pairs: int = 0
    """Those that differ in one or two values: where samples are equal by nature, as many at least nearly are."""
    second_share: float = float("nan")
    """The same share for the middle one of all features that vary."""


@dataclass(frozen=True)
class HeldOut:
    """The rows of one pass without gradients, beside the training rows that the model had seen before it."""

    model: int
    step: int
    site: Site | None = None
    rows: int = 0
    """Rows looked at."""
    whole: bool = False
    """Whether every row of the pass was looked at."""
    in_training: int = 0
    """Rows equal to a training row seen before the pass."""
    sizes: tuple[int, ...] = ()
    """Rows of each forward."""
    hits: tuple[int, ...] = ()
    """Those of them equal to a training row."""
    training_rows: int = 0
    """Different training rows known at the pass."""
    covered: float = 0.0
    """Share (0..1) of them that the pass goes through."""
    familiar: float = float("nan")
    """`Samples.familiar` at the pass."""
    pairs: int = 0
    """Pairs of rows within the pass and within training batches that were compared."""
    equal_pairs: int = 0
    """Those that were equal: how often two samples agree by nature, or are copied."""
    looked_at: int = 0
    """Rows equal to no known training row that were compared with training rows by distance."""
    lookalikes: int = 0
    """Those of them that lie far nearer to a training row than to the tenth nearest."""
    lookalikes_expected: float = float("nan")
    """So many of them would by chance, in as many dimensions as the rows spread in."""


@dataclass(frozen=True)
class Tokens:
    """Integer inputs beside the targets of a loss with one target for each position, over the batches looked at."""

    function: str = ""
    site: Site | None = None
    """The user's line of the loss."""
    batches: int = 0
    positions: int = 0
    classes: int = 0
    same_share: float = float("nan")
    """Share (0..1) of counted positions whose target is the input at that position."""
    next_share: float = float("nan")
    """Share (0..1) of counted positions whose target is the input one position later."""
    first_next_share: float = float("nan")
    """The same of the first input that has the targets' shape: a model that is given its labels, too, has these as
    another one, whose next position every target is."""
    first_second_share: float = float("nan")
    """Share (0..1) of counted positions whose target is that first input two positions later."""
    last_losses: Doubles = field(default_factory=_no_values)
    """At each batch looked at: mean loss at the last position, whose target is nowhere in the input; nats."""
    other_losses: Doubles = field(default_factory=_no_values)
    """The same for positions before it."""
    padding_token: int = -1
    """Input that fills the ends of shorter rows; -1 when there is none."""
    padded: int = 0
    """Positions that it fills at the ends of rows."""
    padding_elsewhere: int = 0
    """Positions where the same token stands before another one."""
    padded_counted: int = 0
    """Padded positions whose target is not `ignore_index`."""
    padded_target: int = -1
    """The most frequent target there."""
    padded_target_share: float = float("nan")
    lengths: int = 0
    """Different row lengths seen."""
    padded_first: bool = False
    """Whether padding stands at the starts of rows and not at their ends."""
    of_numbers: bool = False
    """Whether a position's input is no token but a few numbers; its padding is told as token 0. Then, and where
    a target is a number, `classes` is 0, and a padded position counts unless the answer there is the target itself."""
    filled_with: str = ""
    """Of numbers: `zeros`, `the same numbers` at all positions, or `the last numbers again`."""
    whole_steps: Integers = field(default_factory=_no_steps)
    """(values,): steps of calls that returned a loss for each position; at most 400."""
    whole_means: Doubles = field(default_factory=_no_values)
    """(values,): the mean over all positions at each of them, padded ones included."""
    whole_lengths: Integers = field(default_factory=_no_steps)
    """(values,): positions of a row at each of them."""
