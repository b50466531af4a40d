"""A word that gives the label of a text away."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Rule
from stethoscope.facts.data import Data
from stethoscope.rules.columns import named
from stethoscope.rules.sites import code
from stethoscope.rules.texts import of_texts


class LabelInText(Rule):
    """One word tells the label of the texts that have it, and a large part of a class has it.

    ## What it sees
    Words that were found in one half of the texts and counted in the other: nearly all texts with the word have one
    label, and a third of the texts with that label have the word, or a tenth where the word is the name of the label.
    Words of the subject are in far fewer texts.
    ## Why it hurts
    Most often it is a header, a tag or a template that came with the label: `Category: sport`, `[SPAM]`, the name of
    the source. The model learns the tag, scores very well, and knows nothing of a text without.
    ## How to fix it
    Cut the word off, train again, and see what is left of the score.
    ## When it is not a fault
    Where the word will be there when the model is used, and means what it says.
    ## Sources
    S. Gururangan et al., "Annotation Artifacts in Natural Language Inference Data", NAACL 2018.
    """

    severity = Severity.WARNING

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the words that tell a label."""
        texts = seen.train.texts
        if texts is None or seen.task != "classification":
            yield self.cannot_tell("there is no column of texts, or no target with classes")
            return
        if not texts.telling_words:
            return
        word, label, share, count, part = texts.telling_words[0]
        yield self.finding(
            f"the word {named(word)} alone tells {named(seen.target)} in {count:,} texts"[:72],
            sureness=Sureness.LIKELY,
            place=Place(file=seen.train.name, columns=(texts.column,)),
            evidence=[
                Evidence(
                    f"texts with `{some[:30]}` that have the label {named(which)}",
                    f"{right:.1%} of {times:,} held out",
                    "as of any word of the subject, below 98 %",
                    f"{of_class:.0%} of that label's texts have it",
                )
                for some, which, right, times, of_class in texts.telling_words[:4]
            ],
            cause=f"A word that {part:.0%} of the texts of {named(label)} have, and hardly any other text, came with "
            f"the label most often: a header, a tag, a template. A model needs to read no more ({share:.1%} right).",
            fixes=[
                "Cut it off, and see what is left of the score:\n"
                + code(
                    f"frame[{texts.column!r}] = frame[{texts.column!r}]"
                    f".str.replace(r'(?i)\\b{word[:30]}\\b', '', regex=True)"
                )
            ],
            unless="the word will be there when the model is used, and means what it says.",
        )

    bad = Examples(lambda: {
        "a tag": of_texts(telling_words=(("spam", "spam", 0.995, 80, 0.6), ("advert", "spam", 0.99, 70, 0.5))),
    })  # fmt: skip
    good = Examples(lambda: {"no such word": of_texts()})
