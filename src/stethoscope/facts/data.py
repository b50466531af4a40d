"""What is known of one data set, or of two beside each other: profiles, and what comparing rows has shown.

A *profile* holds sufficient statistics: it is small, is saved beside a model, adds up where the statistic does, and is
the same whatever engine counted. Rows themselves are kept as a sample only. Missing numbers are NaN, never 0; what was
not looked at is None or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.grids import Grid
from stethoscope.facts.images import ImageSet, SharedImages
from stethoscope.facts.texts import TextSet
from stethoscope.facts.units import Mixture

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

NAN = float("nan")
MOSTLY_ONE = 0.9
"""Share of a bin that single values make up, from which on a quantile inside it is such a value."""


def _no_counts() -> Ints:
    return np.zeros(0, np.int64)


def _no_values() -> Doubles:
    return np.zeros(0, np.float64)


@dataclass(frozen=True)
class Numbers:
    """The numbers of a column, those that are null, NaN or infinite left out."""

    count: int = 0
    infinite: int = 0
    least: float = NAN
    greatest: float = NAN
    mean: float = NAN
    squares: float = NAN
    """Sum of the squared distances from the mean."""
    cubes: float = NAN
    fourths: float = NAN
    zeros: int = 0
    negative: int = 0
    whole: int = 0
    """How many have no fraction."""
    grid: Grid = field(default_factory=Grid)
    counts: Ints = field(default_factory=_no_counts)
    """(BINS,): how many lie in each bin of the grid."""
    spikes: tuple[tuple[float, int], ...] = ()
    """Single values that make up a hundredth of the rows or more, with their counts; most frequent first."""
    values: tuple[tuple[float, int], ...] = ()
    """All different values with their counts, ascending, where they are known to be 100 at most."""
    distinct: int = 0
    """Different values; at least this many where `distinct_is_exact` is False."""
    distinct_is_exact: bool = True

    @property
    def std(self) -> float:
        """Standard deviation (of the population)."""
        return float(np.sqrt(self.squares / self.count)) if self.count else NAN

    @property
    def skewness(self) -> float:
        """Third standardized moment; 0 for a symmetric column."""
        return float(self.cubes / self.count / self.std**3) if self.count and self.std > 0 else NAN

    @property
    def kurtosis(self) -> float:
        """Fourth standardized moment less 3; 0 for a normal column."""
        return float(self.fourths / self.count / self.std**4 - 3) if self.count and self.std > 0 else NAN

    def quantile(self, share: float) -> float:
        """The value below which this share (0..1) lies: exact where all values are known, else to within a bin."""
        if not self.count:
            return NAN
        if self.values:
            reached = np.cumsum([count for _, count in self.values])
            return self.values[min(int(np.searchsorted(reached, share * self.count)), len(self.values) - 1)][0]
        cumulated = np.cumsum(self.counts)
        edges = np.clip(np.concatenate([[self.least], self.grid.edges(), [self.greatest]]), self.least, self.greatest)
        place = int(np.searchsorted(cumulated, share * self.count))
        place = min(place, len(self.counts) - 1)
        before = cumulated[place - 1] if place else 0
        inside = self.counts[place]
        if self.spikes:
            values, counts = zip(*self.spikes, strict=True)
            same = self.grid.bins(np.array(values)) == place
            if np.array(counts)[same].sum() >= MOSTLY_ONE * inside:
                return float(values[int(np.argmax(same))])
        part = (share * self.count - before) / inside if inside else 0.0
        return float(edges[place] + part * (edges[place + 1] - edges[place]))


@dataclass(frozen=True)
class Spelling:
    """One way in which the values of a column of text are written."""

    kind: str
    """`word`, `text`, or a form with what tells it from others, such as `date 31/12/1999` and `date 1999-12-31`, or
    `number 1,5` and `number 1.5`."""
    rows: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Words:
    """The texts of a column, nulls left out."""

    count: int = 0
    distinct: int = 0
    distinct_is_exact: bool = True
    """Else `distinct` is the least number that there can be."""
    top: tuple[tuple[str, int], ...] = ()
    """The most frequent values with their counts, at most 1,000; all of them where there are no more."""
    missing: tuple[tuple[str, int], ...] = ()
    """Spellings of a missing value, such as "" and `N/A`, with their counts."""
    spellings: tuple[Spelling, ...] = ()
    """The ways in which the other values are written, most frequent first."""
    variants: tuple[tuple[str, ...], ...] = ()
    """Groups of values that differ by case, spacing or punctuation only; in each the most frequent first."""
    lengths: Numbers = field(default_factory=Numbers)
    """Of the texts, in characters."""
    damaged: int = 0
    """Texts with traces of a wrong encoding, such as `Ã©` or U+FFFD."""

    @property
    def is_complete(self) -> bool:
        """Whether `top` holds all values."""
        return self.distinct_is_exact and len(self.top) >= self.distinct


@dataclass(frozen=True)
class Column:
    """The profile of one column."""

    name: str
    kind: str
    """`number`, `category`, `text`, `date`, `truth`, `nested` or `empty`."""
    dtype: str = ""
    """As the engine calls it."""
    rows: int = 0
    nulls: int = 0
    """Null and NaN."""
    numbers: Numbers | None = None
    """Of numbers, truths (0 and 1) and dates (seconds since 1970, UTC)."""
    words: Words | None = None
    """Of categories and texts."""

    @property
    def missing(self) -> int:
        """Rows without a value, in whatever spelling; sentinel numbers left out."""
        return self.nulls + sum(count for _, count in self.words.missing) if self.words else self.nulls


@dataclass(frozen=True)
class Profile:
    """The sufficient statistics of a table."""

    rows: int = 0
    columns: tuple[Column, ...] = ()
    version: int = 1

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Rows:
    """Some rows of a table, all columns: what cannot be counted is judged on these."""

    index: Ints = field(default_factory=_no_counts)
    """(n,): place of each row in the set, from 0; growing."""
    values: Mapping[str, NDArray[np.float64] | NDArray[np.object_]] = field(default_factory=dict)
    """Column to (n,) doubles (numbers, truths, dates; NaN where missing) or (n,) texts (None where missing)."""
    dates: tuple[str, ...] = ()
    """Columns whose doubles are seconds since 1970 (UTC)."""

    @property
    def count(self) -> int:
        """How many."""
        return int(self.index.size)


@dataclass(frozen=True)
class Near:
    """Rows that have one neighbour far nearer than all others, as a copy with small changes is."""

    found: int = 0
    rows: int = 0
    """That were asked, of the sample."""
    expected: float = NAN
    """Of them, by chance in as many dimensions."""
    examples: tuple[tuple[int, int], ...] = ()
    """The neighbour, and the row, as places in their sets; the nearest first."""


@dataclass(frozen=True)
class Repeats:
    """Rows of a set that are equal in all columns, or in all but the target."""

    exact: int = 0
    """Rows that repeat an earlier one, target included."""
    conflicting: int | None = 0
    """Rows whose inputs equal another row's and whose target does not; None where the engine cannot tell."""
    near: Near = field(default_factory=Near)
    """Rows very near to another one, those with equal inputs left out; from the sample."""
    examples: tuple[tuple[int, ...], ...] = ()
    """Groups of equal rows."""
    conflicts: tuple[tuple[int, ...], ...] = ()
    """Groups of rows with equal inputs and different targets."""


@dataclass(frozen=True)
class Tie:
    """How well one column alone tells the target, on rows that were held out."""

    column: str
    strength: float
    """Share of what guessing gets wrong that the column puts right, 0..1: 1 gives the target away."""
    low: float = NAN
    """Lower end of its 95 % interval."""
    rows: int = 0
    example: str = ""
    """What was learned, in words, such as `price above 3.2 means class 1`."""


@dataclass(frozen=True)
class Suspect:
    """A row that something is wrong with."""

    row: int
    score: float
    """0..1, the most suspicious near 0."""
    given: str = ""
    """Its label."""
    better: str = ""
    """What the rest of the data says instead."""
    probability: float = NAN
    """0..1, of that, where it is a class."""
    near: tuple[int, ...] = ()
    """The rows most like it that have the better label."""


@dataclass(frozen=True)
class LabelSuspects:
    """Labels that the rest of the data contradicts."""

    method: str
    """How it was found out, as a clause."""
    why: str = ""
    """Why nothing was judged, as a clause; empty where it was."""
    suspects: tuple[Suspect, ...] = ()
    """Most suspicious first."""
    rows: int = 0
    """Rows that were judged."""
    accuracy: float = NAN
    """Of the out-of-sample predictions, on the labels as given: below chance's nothing is known."""
    chance: float = NAN
    """Accuracy of answering the most frequent class."""
    noise: float = NAN
    """Estimated share of wrong labels."""
    confident: int = 0
    """Rows in the half whose predictions are the most confident, whatever their labels."""
    contradicted: int = 0
    """Those of them whose label is another one than the predicted."""
    explained: float = NAN
    """Of a target of numbers: share of the mean distance from its median that the predictions put right."""
    usual: float = NAN
    """And the distance from the prediction that 99 % of the rows stay below, but for wrong ones."""
    factor: float = NAN
    """Power of ten by which most of the suspects are off, where that explains any."""
    slips: int = 0
    """Suspects that it explains."""
    relation: float = NAN
    """How far the predictions are from knowing nothing, in standard errors."""


@dataclass(frozen=True)
class Dynamics:
    """What a network said of each training row, from epoch to epoch, as the user recorded it."""

    epochs: int = 0
    index: Ints = field(default_factory=_no_counts)
    """(n,): place of each row in the set, from 0; growing."""
    margin: Doubles = field(default_factory=_no_values)
    """(n,): the given label's logit less the greatest other one, mean of the epochs ("area under the margin")."""
    confidence: Doubles = field(default_factory=_no_values)
    """(n,): probability of the given label, 0..1, mean of the epochs."""
    variability: Doubles = field(default_factory=_no_values)
    """(n,): standard deviation of that."""
    forgotten: Ints = field(default_factory=_no_counts)
    """(n,): how often it was right and, an epoch later, wrong; -1 where it was never right."""


@dataclass(frozen=True)
class Group:
    """The rows with one value of a sensitive column, or of several."""

    columns: tuple[str, ...]
    values: tuple[str, ...]
    rows: int
    outcome: float = NAN
    """Mean of the target, for two classes the share of the second one in their order; else NaN."""
    error: float = NAN
    """Mean error of the predictions, or NaN."""
    outcome_interval: tuple[float, float] = (NAN, NAN)
    """95 %."""
    error_interval: tuple[float, float] = (NAN, NAN)
    outcome_gap: tuple[float, float] = (NAN, NAN)
    """Interval of the group's outcome less that of all other rows; 99 % for all groups together. Of a target of numbers
    in its standard deviations."""
    error_gap: tuple[float, float] = (NAN, NAN)
    """The same of the error; of a target of numbers as a share of the other rows' mean error."""
    lean: float = NAN
    """Mean of prediction less target (two classes as 0 and 1): below 0 where the predictions are too low; else NaN."""
    lean_gap: tuple[float, float] = (NAN, NAN)
    """Interval of its difference to all other rows, as that of the error."""


@dataclass(frozen=True)
class Groups:
    """The groups of the sensitive columns, and what was compared."""

    groups: tuple[Group, ...] = ()
    rows: int = 0
    """Rows that were looked at."""
    outcome: str = ""
    """What `Group.outcome` is, such as `share with y = 1`; empty where outcomes are not compared."""
    error: str = ""
    """What `Group.error` is; empty without predictions."""


@dataclass(frozen=True)
class Segment:
    """Rows with certain values in one column or two, where a model's error is above that of all other rows."""

    where: tuple[tuple[str, str], ...]
    """Column and condition, such as ("age", "61 to 90")."""
    rows: int
    """Of the confirming half."""
    error: float
    """Mean error in them."""
    others: float
    """Mean error of all other rows of that half."""
    gap: tuple[float, float]
    """Interval of the difference; 99 % for all segments together that were tried."""
    frame: str = ""
    """The condition as a pandas expression."""


@dataclass(frozen=True)
class Order:
    """How the target lies along the rows as they are stored."""

    runs: int = 0
    """Stretches of equal labels."""
    expected_runs: float = NAN
    """In a shuffled order."""
    spread: float = NAN
    """Standard deviation of that."""
    drift: tuple[tuple[str, float], ...] = ()
    """Columns whose values drift with the place in the set, with the rank correlation."""


@dataclass(frozen=True)
class DataSet:
    """One data set."""

    name: str
    """As the user said it: a path, or `train`."""
    profile: Profile = field(default_factory=Profile)
    sample: Rows = field(default_factory=Rows)
    repeats: Repeats | None = None
    ties: tuple[Tie, ...] = ()
    """Strongest first."""
    outliers: tuple[Suspect, ...] = ()
    """Rows far from all others, from the sample."""
    contradicted: tuple[Suspect, ...] = ()
    """Rows of the sample with a value (`given`) that the other columns contradict (`better`)."""
    labels: LabelSuspects | None = None
    dynamics: Dynamics | None = None
    groups: Groups | None = None
    """Of the sensitive columns."""
    weak: tuple[Segment, ...] | None = None
    """Where the predictions are worst, by rows that were not used to find them; None without predictions."""
    order: Order | None = None
    mixtures: tuple[Mixture, ...] = ()
    images: ImageSet | None = None
    texts: TextSet | None = None


@dataclass(frozen=True)
class Overlap:
    """Rows of the second set that are in the first one as well."""

    exact: int = 0
    """Rows of the second set, all columns equal."""
    inputs: int = 0
    """Rows of the second set whose inputs are equal; the target may differ."""
    near: Near = field(default_factory=Near)
    """Rows of the second set, of its sample, that are nearly a row of the first; those with equal inputs left out."""
    examples: tuple[tuple[int, int], ...] = ()
    """Row of the first, row of the second set."""
    shared_keys: tuple[tuple[str, int, int], ...] = ()
    """Columns that name an entity (a patient, a user): name, entities of the second set that the first one has as well,
    and entities of the second set."""
    times: tuple[str, float, float, float, float] | None = None
    """A column of dates, and least and greatest of the first and of the second set, in seconds."""


@dataclass(frozen=True)
class JointShift:
    """How well a classifier tells the rows of two sets apart, on rows that were held out."""

    auc: float = NAN
    """0.5: not at all; 1: always."""
    low: float = NAN
    """Lower end of its 99 % interval."""
    rows: int = 0
    columns: tuple[tuple[str, float], ...] = ()
    """What it used most, with the share of the AUC above 0.5 that is lost when the column is shuffled."""


@dataclass(frozen=True)
class Data:
    """One data set, or two, and what they are for."""

    train: DataSet
    test: DataSet | None = None
    target: str = ""
    """Name of the column to be predicted; empty when none was named."""
    task: str = ""
    """`classification` or `regression`; empty without a target."""
    sensitive: tuple[str, ...] = ()
    predictions: str = ""
    """Name of the column with a model's predictions."""
    overlap: Overlap | None = None
    joint: JointShift | None = None
    shared_images: SharedImages | None = None
    is_fed: bool = False
    """Whether these are rows that a training was fed: columns are then called `feature 0`, `feature 1`, ..."""

    @property
    def sets(self) -> tuple[DataSet, ...]:
        """Those that there are."""
        return (self.train,) if self.test is None else (self.train, self.test)

    def inputs(self, one: DataSet) -> tuple[Column, ...]:
        """The columns of a set that a model may be given: neither target nor predictions."""
        return tuple(column for column in one.profile.columns if column.name not in (self.target, self.predictions))
