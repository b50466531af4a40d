"""What is known of a column of texts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

PROPERTIES = (
    "characters", "words", "word length", "upper case", "digits", "punctuation", "non-ASCII", "repeated words",
    "unknown words",
)  # fmt: skip
"""What is measured of each text: counts, mean word length in characters, and shares of 0..1 of its characters or words.
Unknown are words that no other text of the first set has."""


def _no_values() -> Doubles:
    return np.zeros((0, len(PROPERTIES)))


def _no_rows() -> Ints:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class TextSet:
    """The texts of one column, in a sample of rows. Rows are counted as they are stored in the set."""

    column: str = ""
    rows: int = 0
    """Of the sample, missing texts included."""
    values: Doubles = field(default_factory=_no_values)
    """(texts of the sample, PROPERTIES)."""
    index: Ints = field(default_factory=_no_rows)
    """(texts of the sample,): the row of each."""
    empty: int = 0
    """Texts of blanks only."""
    empty_rows: tuple[int, ...] = ()
    placeholders: tuple[tuple[int, str], ...] = ()
    """Rows whose text stands for one that is not there, such as `[deleted]`, and that text."""
    sure_placeholders: int = 0
    """Of them, those that say so in known words; the others are the same mark in brackets, again and again."""
    alike: tuple[tuple[int, int], ...] = ()
    """Rows whose text is nearly that of an earlier row, equal ones left out: the earlier row, and the row."""
    telling: tuple[tuple[str, float, float, int], ...] = ()
    """How well each property alone tells the class: property, share of guessing's errors that it puts right, lower end
    of its 95 % interval, texts held out; strongest first."""
    same: tuple[tuple[int, ...], ...] = ()
    """Groups of rows with equal texts of several words, but for case and spacing."""
    damaged: tuple[tuple[int, str], ...] = ()
    """Rows with traces of a wrong encoding, and the piece that shows it."""
    markup: tuple[tuple[int, str], ...] = ()
    """Rows with remains of HTML, and the piece that shows it."""
    scripts: tuple[tuple[str, float], ...] = ()
    """Share of the texts by script (Latin, Cyrillic, Han, ...), largest first."""
    languages: tuple[tuple[str, float], ...] = ()
    """Share of the texts by language, guessed by frequent words; largest first."""
    foreign: tuple[tuple[int, str], ...] = ()
    """Rows in another script or language than the most frequent one, and which."""
    telling_words: tuple[tuple[str, str, float, int, float], ...] = ()
    """Words that give a label away: word, label, share of the texts with the word that have it, texts with the word,
    share of the label's texts that have the word; all on texts that were held out."""
    boilerplate: tuple[tuple[str, int], ...] = ()
    """Long passages that stand in many texts, with their counts."""
    new_words: tuple[tuple[str, int], ...] = ()
    """Most frequent words that the first set does not have, with the number of texts that have them."""
    known: tuple[tuple[int, int], ...] = ()
    """Of a second set: row of the first and row of this one with equal texts of several words, but for case and
    spacing."""

    near_known: tuple[tuple[int, int], ...] = ()
    """The same of texts that are nearly equal, one pair for each row; equal ones left out."""

    def of(self, name: str) -> Doubles:
        """One property of all texts. Shape: (texts,)."""
        return self.values[:, PROPERTIES.index(name)]
