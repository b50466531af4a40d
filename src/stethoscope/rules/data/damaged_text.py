"""Texts whose letters were damaged on the way, or that still hold the page's code."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.data import Data, DataSet
from stethoscope.facts.texts import TextSet
from stethoscope.rules.columns import named
from stethoscope.rules.sites import code
from stethoscope.rules.texts import MOST_ROWS, of_texts, text_row

SHOWN = 3


class DamagedText(Rule):
    """Texts hold letters that a wrong encoding has damaged, or remains of HTML.

    ## What it sees
    Pieces that come of reading UTF-8 as another encoding (`Ã©`, `â€™`), letters that were lost (U+FFFD), and tags and
    entities of HTML (`<br />`, `&amp;`).
    ## Why it hurts
    The damaged word is another word for a tokenizer, most often several strange pieces, and what was learned of the
    right one does not count for it. Where only one source is damaged, the damage tells the source.
    ## How to fix it
    Read the file in its own encoding; letters that were lost have to be fetched again. Turn HTML to text.
    ## When it is not a fault
    Texts about encodings, and models that read HTML.
    ## Sources
    R. Speer, ftfy ("fixes text for you"), on how such pieces come about.
    """

    severity = Severity.WARNING

    many = Limit(0.005, unit="share of the texts", why="a damaged quotation in one of 200 texts is hardly felt")
    tagged = Limit(0.01, unit="share of the texts with remains of HTML", why="a stray `<b>` may be meant as it is")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the texts of each set."""
        sets = [one for one in seen.sets if one.texts is not None and len(one.texts.values)]
        if not sets:
            yield self.cannot_tell("there is no column of texts")
        for one in sets:
            texts = one.texts or TextSet()
            total = len(texts.values)
            if texts.damaged:
                is_large = len(texts.damaged) >= self.many * total
                yield self._report(
                    one, texts, texts.damaged, "letters damaged by a wrong encoding",
                    Severity.WARNING if is_large else Severity.NOTE,
                    "The text was written in one encoding and read in another: letters outside English became two "
                    "strange ones each, or were lost.",
                    "Read the file in its own encoding, or repair what was read (package ftfy):\n"
                    + code("pd.read_csv(path, encoding='utf-8')  # or 'cp1252'", "text = ftfy.fix_text(text)"),
                    "the texts are about encodings.",
                )  # fmt: skip
            if len(texts.markup) >= self.tagged * total:
                yield self._report(
                    one, texts, texts.markup, "remains of HTML", Severity.NOTE,
                    "Tags and entities are words to a tokenizer, and say where a text is from and not what it says.",
                    "Turn HTML to text before it is used:\n"
                    + code("text = html.unescape(re.sub(r'<[^>]+>', ' ', text))"),
                    "the model is to read HTML.",
                )  # fmt: skip

    def _report(
        self, one: DataSet, texts: TextSet, rows: tuple[tuple[int, str], ...], what: str, severity: Severity,
        cause: str, fix: str, unless: str,
    ) -> Finding:  # fmt: skip
        total = len(texts.values)
        pieces = ", ".join(f"`{piece[:40].replace('`', '')}`" for _, piece in rows[:SHOWN])
        return self.finding(
            f"{len(rows):,} of {total:,} texts of {named(texts.column)} hold {what}"[:72],
            severity=severity,
            sureness=Sureness.LIKELY,
            place=Place(file=one.name, columns=(texts.column,)),
            evidence=[
                Evidence(f"texts with {what}", f"{len(rows):,} ({len(rows) / total:.1%})", "0", f"as in {pieces}")
            ],
            cause=cause,
            fixes=[fix],
            unless=unless,
            suspects=[text_row(one, row, piece) for row, piece in rows[:MOST_ROWS]],
        )

    bad = Examples(lambda: {
        "damaged": of_texts(damaged=tuple((i, "cafÃ© au") for i in range(5))),
        "one of 200": of_texts(damaged=((3, "itâ€™s"),)),
        "just fewer": of_texts(1250, damaged=tuple((i, "itâ€™s") for i in range(6))),
        "HTML": of_texts(markup=((1, "a <br /> b"), (2, "a &amp; b"))),
        "just enough HTML": of_texts(195, markup=((1, "a <br /> b"), (2, "a &amp; b"))),
    })  # fmt: skip
    good = Examples(lambda: {
        "none": of_texts(),
        "a stray tag": of_texts(markup=((1, "a <b> b"),)),
        "just too few tags": of_texts(204, markup=((1, "a <b> b"), (2, "a &amp; b"))),
    })  # fmt: skip
