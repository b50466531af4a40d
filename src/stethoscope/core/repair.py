"""What can be done about a data set, step by step: values that a script is written from, in any library of frames."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class AsMissing:
    """Words and numbers that stand for nothing become missing."""

    rule: str
    column: str
    words: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    days: tuple[str, ...] = ()
    """Of a column of dates, as `1900-01-01`."""


@dataclass(frozen=True)
class Decode:
    """Texts that were written in UTF-8 and read in another encoding are read again."""

    rule: str
    column: str


@dataclass(frozen=True)
class AsNumber:
    """Texts in several forms become numbers; what is none becomes missing, and so does what is in another unit."""

    rule: str
    column: str
    lost: tuple[str, ...] = ()
    """Some words that are no numbers."""
    units: tuple[tuple[str, float], ...] = ()
    """The units that there are, in lower case, and what each is in the first of them."""
    doubt: str = ""
    """What the values leave open, as a clause."""


@dataclass(frozen=True)
class AsDate:
    """Texts in several forms become dates; what is none becomes missing."""

    rule: str
    column: str
    forms: tuple[str, ...] = ()
    """As `datetime.strptime` takes them, in the order in which they are tried."""
    doubt: str = ""
    """What the values leave open, as a clause."""


@dataclass(frozen=True)
class OneSpelling:
    """Spellings of one category become the commonest of them."""

    rule: str
    column: str
    into: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DropColumns:
    """Columns are left out."""

    rule: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class DropRepeats:
    """Rows that repeat an earlier one are left out of the training set."""

    rule: str


@dataclass(frozen=True)
class DropWithout:
    """Rows without a value of this column are left out of the training set."""

    rule: str
    column: str


@dataclass(frozen=True)
class Shuffle:
    """The rows of the training set are put into an order that says nothing."""

    rule: str


@dataclass(frozen=True)
class CountFromZero:
    """Labels become 0, 1, 2, ..."""

    rule: str
    column: str
    labels: tuple[int, ...]


@dataclass(frozen=True)
class FillIn:
    """What is missing gets what is usual in the training set."""

    rule: str
    column: str
    how: str
    """`median`, `most frequent`, or `word`: a category of its own."""
    told: bool = False
    """Whether a further column says where it was missing."""


@dataclass(frozen=True)
class Clip:
    """Values beyond a bound become the bound."""

    rule: str
    column: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Compress:
    """A long tail is drawn in: `log`, `log1p` or `arcsinh` of the values divided by a scale."""

    rule: str
    column: str
    how: str
    scale: float = 1.0
    least: float = 0.0
    """Below it there is no logarithm, or none that was seen."""


@dataclass(frozen=True)
class Scale:
    """Columns get mean 0 and spread 1, by the training set."""

    rule: str
    columns: tuple[str, ...]


Repair = (
    AsMissing | Decode | AsNumber | AsDate | OneSpelling | DropColumns | DropRepeats | DropWithout | Shuffle
    | CountFromZero | FillIn | Clip | Compress | Scale
)  # fmt: skip


@dataclass(frozen=True)
class Repairs:
    """What can be repaired, in the order in which it has to be done, and what is left to a person."""

    steps: tuple[Repair, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    """Rule and title of each finding that needs a decision."""
    files: tuple[str, ...] = field(default=())
    """Files that the data sets were read from, where they were."""

    def of(self, *kinds: type) -> tuple[Repair, ...]:
        """The steps of these kinds."""
        return tuple(step for step in self.steps if isinstance(step, kinds))
