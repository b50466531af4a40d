"""What is known of a column of texts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

PROPERTIES = (
    "characters", "words", "word length", "upper case", "digits", "punctuation", "non-ASCII", "repeated words",
    "unknown words",
)  # fmt: skip
"""What is measured of each text: counts, mean word length in characters, and shares of 0..1 of its characters or words.
Unknown are words that the first set does not have."""


def _no_values() -> Doubles:
    return np.zeros((0, len(PROPERTIES)))


@dataclass(frozen=True)
class TextSet:
    """The texts of one column, in a sample of rows."""

    column: str = ""
    rows: int = 0
    values: Doubles = field(default_factory=_no_values)
    """(texts of the sample, PROPERTIES)."""
    empty: int = 0
    """Texts of blanks only."""
    same: tuple[tuple[int, ...], ...] = ()
    """Groups of rows with equal texts, but for case and spacing."""
    damaged: tuple[tuple[int, str], ...] = ()
    """Rows with traces of a wrong encoding, and the piece that shows it."""
    scripts: tuple[tuple[str, float], ...] = ()
    """Share of the texts by script (Latin, Cyrillic, Han, ...), largest first."""
    languages: tuple[tuple[str, float], ...] = ()
    """Share of the texts by language, guessed by frequent words; largest first."""
    telling_words: tuple[tuple[str, str, float, int], ...] = ()
    """Words that give a label away: word, label, share of the texts with the word that have it, texts with the word."""
    boilerplate: tuple[tuple[str, int], ...] = ()
    """Long passages that stand in many texts, with their counts."""
