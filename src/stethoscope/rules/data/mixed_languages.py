"""A few texts in another language or script than the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.data import Data, DataSet
from stethoscope.facts.texts import TextSet
from stethoscope.rules.columns import named
from stethoscope.rules.sites import code
from stethoscope.rules.texts import MOST_ROWS, of_texts, text_row


class MixedLanguages(Rule):
    """A few texts are written in another language or script than nearly all others.

    ## What it sees
    The script of each text by its letters, and its language by its small words (`the`, `und`, `que`), for seven
    languages in Latin letters; texts of few words are left out. It is told when one language has nearly all texts and
    another a few.
    ## Why it hurts
    Too few to be learned, they are noise with labels; a tokenizer made for the one language cuts the other one to
    pieces.
    ## How to fix it
    Take them out, translate them, or gather enough of them.
    ## When it is not a fault
    A model for several languages, for which a few texts of one are a beginning.
    ## Sources
    W. Cavnar and J. Trenkle, "N-Gram-Based Text Categorization", 1994 (guessing a language by its frequent pieces).
    """

    severity = Severity.NOTE

    fewest = Limit(3, unit="texts", why="one or two may be quotations, or guessed wrong")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the languages of each set."""
        sets = [one for one in seen.sets if one.texts is not None]
        if not sets:
            yield self.cannot_tell("there is no column of texts")
        for one in sets:
            texts = one.texts or TextSet()
            counts = Counter(name for _, name in texts.foreign)
            names = {name for name, count in counts.items() if count >= self.fewest}
            if names:
                yield self._report(one, texts, names)

    def _report(self, one: DataSet, texts: TextSet, names: set[str]) -> Finding:
        rows = [(row, name) for row, name in texts.foreign if name in names]
        shares = dict((*texts.scripts, *texts.languages))
        usual = next((name for name, _ in (*texts.languages, *texts.scripts)), "another")
        first = Counter(name for _, name in rows).most_common(1)[0][0]
        other = "other languages" if len(names) > 1 else first
        return self.finding(
            f"{len(rows):,} texts of {named(texts.column)} in {other}, the rest in {usual}"[:72],
            sureness=Sureness.LIKELY,
            place=Place(file=one.name, columns=(texts.column,)),
            evidence=[
                Evidence(f"texts in {name}", f"{shares.get(name, 0.0):.1%}", f"none, or many ({usual}: "
                         f"{shares.get(usual, 0.0):.1%})")
                for name in sorted(names)[:4]
            ],
            cause="They are too few to be learned, and a tokenizer for the one language cuts the other one to pieces.",
            fixes=["Look at them, and take them out or gather more:\n" + code(_LIST)],
            unless="the model is for several languages.",
            suspects=[text_row(one, row, name) for row, name in rows[:MOST_ROWS]],
        )  # fmt: skip

    bad = Examples(lambda: {
        "some German": of_texts(
            languages=(("English", 0.97), ("German", 0.03)), foreign=tuple((i, "German") for i in range(6))
        ),
        "three in Cyrillic letters": of_texts(
            scripts=(("Latin", 0.985), ("Cyrillic", 0.015)), foreign=((0, "Cyrillic"), (1, "Cyrillic"), (2, "Cyrillic"))
        ),
    })  # fmt: skip
    good = Examples(lambda: {
        "one language": of_texts(languages=(("English", 1.0),)),
        "two": of_texts(foreign=((0, "Cyrillic"), (1, "Cyrillic"))),
    })  # fmt: skip


_LIST = "stethoscope data TRAIN --suspects texts.csv"
