"""Texts that are empty, stand for none, or are far longer or shorter than all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.data import Data, DataSet
from stethoscope.facts.texts import TextSet
from stethoscope.rules.columns import named
from stethoscope.rules.sites import code
from stethoscope.rules.texts import MOST_ROWS, of_texts, text_row, text_rows

TAIL = 0.05
"""Share of the texts by which the usual spread of the lengths is known."""
LEAST = np.log(2.0)
"""Least usual spread of the logarithm, where all texts are of one length."""

RARE = 0.02
"""Share of the texts: more short ones than that are a kind of their own."""


class OddTexts(Rule):
    """Texts are empty, far longer or shorter than all others, or say the same sentences again and again.

    ## What it sees
    Texts of blanks only; such as stand for one that is not there (`[deleted]`, `no text`, a line of dashes, the same
    mark in brackets again and again); texts whose length is far beyond the others, on a scale of ratios; and long
    sentences that stand in many texts (a signature, a notice of copyright, a header).
    ## Why it hurts
    An empty text, or one that was deleted, has a label and nothing to learn it from. The longest text sets the length
    that a batch is padded to, and is most often two records that ran together; a tokenizer cuts it. Repeated sentences
    take room.
    ## How to fix it
    Drop the empty ones, look at the longest, and cut off what is repeated.
    ## When it is not a fault
    Texts of all lengths, from a word to a book, by nature.
    ## Sources
    D. Jurafsky and J. Martin, "Speech and Language Processing", chapter 2 (text normalization).
    """

    severity = Severity.NOTE

    many = Limit(0.01, unit="share of empty texts for a warning", why="as of any label that cannot be learned")
    times = Limit(3.0, unit="distance from the middle / that of the 5 % longest", why="log-normal lengths reach 2.6")
    fewest = Limit(50, unit="texts", why="in fewer it is not known what is usual")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the texts of each set."""
        sets = [one for one in seen.sets if one.texts is not None]
        if not sets:
            yield self.cannot_tell("there is no column of texts")
        for one in sets:
            texts = one.texts or TextSet()
            if len(texts.values) + texts.empty < self.fewest:
                yield self.cannot_tell(f"{one.name} has only {len(texts.values)} texts")
                continue
            if texts.empty:
                yield self._empty(one, texts)
            if texts.placeholders:
                yield self._stands_for_none(one, texts)
            if len(texts.values):
                yield from self._long(one, texts)
                yield from self._short(one, texts)
            if texts.boilerplate and one is seen.train:
                yield self._boilerplate(one, texts)

    def _empty(self, one: DataSet, texts: TextSet) -> Finding:
        total = len(texts.values) + texts.empty
        return self.finding(
            f"{texts.empty:,} of {total:,} texts of {named(texts.column)} {'is' if texts.empty == 1 else 'are'} empty",
            severity=Severity.WARNING if texts.empty >= self.many * total else Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=Place(file=one.name, columns=(texts.column,)),
            evidence=[Evidence("texts of blanks only", f"{texts.empty:,} ({texts.empty / total:.1%})", "0")],
            cause="Their labels cannot be learned from them: the text was lost on the way, or there never was one.",
            fixes=["Drop them:\n" + code(f"frame = frame[frame[{texts.column!r}].str.strip() != '']")],
            unless="to say nothing is an answer.",
            suspects=text_rows(one, texts.empty_rows),
        )

    def _stands_for_none(self, one: DataSet, texts: TextSet) -> Finding:
        count, total = len(texts.placeholders), len(texts.values) + texts.empty
        frequent = Counter(text for _, text in texts.placeholders).most_common(3)
        stand = "stands" if count == 1 else "stand"
        is_many = texts.sure_placeholders >= self.many * total
        return self.finding(
            f"{count:,} of {total:,} texts of {named(texts.column)} only {stand} for one"[:72],
            severity=Severity.WARNING if is_many else Severity.NOTE,
            sureness=Sureness.LIKELY if texts.sure_placeholders else Sureness.POSSIBLE,
            place=Place(file=one.name, columns=(texts.column,)),
            evidence=[
                Evidence(f"texts that are `{text.replace('`', '')}`", f"{times:,} ({times / total:.1%})", "0")
                for text, times in frequent
            ],
            cause="They were put in the place of a text that was deleted, or never there. Their labels cannot be "
            "learned from them, and a model learns the mark instead.",
            fixes=[
                "Drop them:\n"
                + code(
                    f"gone = [{', '.join(repr(text) for text, _ in frequent)}]",
                    f"frame = frame[~frame[{texts.column!r}].str.strip().isin(gone)]",
                )
            ],
            unless="such a mark is what was said, as `[Music]` in the text of a film.",
            suspects=[text_row(one, row, f"stands for a text: {text}") for row, text in texts.placeholders[:MOST_ROWS]],
        )

    def _short(self, one: DataSet, texts: TextSet) -> Iterator[Finding]:
        lengths = texts.of("characters")
        scale = np.log(lengths + 1)
        edge, middle = np.quantile(scale, [TAIL, 0.5])
        far = middle - scale > self.times * max(float(middle - edge), LEAST)
        far &= ~np.isin(texts.index, [row for row, _ in texts.placeholders])
        rows = np.flatnonzero(far)
        if not rows.size or rows.size > RARE * lengths.size:
            return
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        yield self.finding(
            f"{rows.size:,} text{'s' * (rows.size > 1)} of {named(texts.column)} far shorter than all others"[:72],
            sureness=Sureness.POSSIBLE,
            place=Place(file=one.name, columns=(texts.column,)),
            evidence=[
                Evidence(
                    "characters of the shortest text", f"{lengths[rows[0]]:,.0f}",
                    f"from {np.exp(edge):,.0f} on in 95 % of them, {np.exp(middle):,.0f} in the middle",
                )
            ],
            cause="Where all others say something at length, such a text was most often cut off, or is a note about a "
            "text and not one itself.",
            fixes=["Look at them:\n" + code(_LIST)],
            unless="to say little is an answer.",
            suspects=[text_row(one, int(texts.index[row])) for row in rows[:50]],
        )  # fmt: skip

    def _long(self, one: DataSet, texts: TextSet) -> Iterator[Finding]:
        lengths = texts.of("characters")
        scale = np.log(lengths + 1)
        middle, edge = np.quantile(scale, [0.5, 1 - TAIL])
        rows = np.flatnonzero(scale - middle > self.times * max(float(edge - middle), LEAST))
        if not rows.size:
            return
        rows = rows[np.argsort(-lengths[rows], kind="stable")]
        usual = np.exp(middle)
        yield self.finding(
            f"{rows.size:,} text{'' if rows.size == 1 else 's'} of {named(texts.column)} far longer than all others",
            sureness=Sureness.POSSIBLE,
            place=Place(file=one.name, columns=(texts.column,)),
            evidence=[
                Evidence(
                    "characters of the longest text", f"{lengths[rows[0]]:,.0f}",
                    f"up to {np.exp(edge):,.0f} in 95 % of them, {usual:,.0f} in the middle",
                )
            ],
            cause="Such a text is most often several that ran together, a file that was pasted, or a missing quote. It "
            "sets the length of a padded batch, and is cut by a tokenizer.",
            fixes=[
                "Look at them, and cut what is right and long:\n"
                + code(f"frame[{texts.column!r}] = frame[{texts.column!r}].str.slice(0, {np.exp(edge) * 2:.0f})")
            ],
            unless="texts are of all lengths by nature.",
            suspects=[text_row(one, int(texts.index[row])) for row in rows[:50]],
        )  # fmt: skip

    def _boilerplate(self, one: DataSet, texts: TextSet) -> Finding:
        passage, count = texts.boilerplate[0]
        total = len(texts.values)
        return self.finding(
            f"one sentence stands in {count:,} of {total:,} texts of {named(texts.column)}",
            sureness=Sureness.LIKELY,
            place=Place(file=one.name, columns=(texts.column,)),
            evidence=[
                Evidence(f"texts with `{some[:60].replace('`', '')}`", f"{times:,} ({times / total:.1%})", "a few")
                for some, times in texts.boilerplate[:3]
            ],
            cause="A header, signature or notice says nothing about the single text. It takes room that a tokenizer "
            "cuts elsewhere, and may tell the source instead of the subject.",
            fixes=["Cut it off:\n" + code(f"text = text.replace({passage[:50]!r}, '')")],
            unless="the sentence belongs to what is said.",
        )

    bad = Examples(lambda: {
        "empty": of_texts(empty=10, empty_rows=(3, 4)),
        "a hundredth": of_texts(198, empty=2),
        "just below a hundredth": of_texts(205, empty=2),
        "far longer": of_texts(characters=[90000.0]),
        "just far enough": of_texts(characters=[119 * 8.3]),
        "deleted": of_texts(placeholders=((3, "[deleted]"), (9, "[deleted]")), sure_placeholders=2),
        "just fewer than a hundredth deleted": of_texts(
            205, placeholders=((3, "[deleted]"), (9, "[deleted]")), sure_placeholders=2
        ),
        "a mark in brackets": of_texts(placeholders=tuple((i, "[Music]") for i in range(9))),
        "far shorter": of_texts(characters=[3.0]),
        "just short enough": of_texts(characters=[13.3]),
        "a signature": of_texts(boilerplate=(("This message is confidential and may be privileged", 40),)),
        "fifty texts": of_texts(49, empty=1),
    })  # fmt: skip
    good = Examples(lambda: {
        "alike": of_texts(),
        "not quite far enough": of_texts(characters=[119 * 7.4]),
        "lengths of all sizes": of_texts(characters=np.exp(np.linspace(0, 9, 200))),
        "not quite short enough": of_texts(characters=[15.3]),
        "short ones are a kind of their own": of_texts(characters=np.where(np.arange(200) < 20, 3.0, 100.0)),
        "49 texts": of_texts(48, empty=1),
    })  # fmt: skip


_LIST = "stethoscope data TRAIN --suspects texts.csv"
