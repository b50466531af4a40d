"""Words of a second set that the first one does not have."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import only
from stethoscope.facts.data import Data
from stethoscope.rules.columns import named
from stethoscope.rules.sites import code
from stethoscope.rules.texts import a_text_set, two_texts


class UnknownWords(Rule):
    """Texts of the second set use words that the first one does not have, far more than its own texts do.

    ## What it sees
    The share of unknown words of each text of the second set, beside the share of words that a text of the first set
    has and no other text of it: as many unknown words a new text of the same kind would have.
    ## Why it hurts
    Of a word that was never seen a model knows nothing, or the pieces that a tokenizer makes of it. Many of them say
    that the subject, the language, the time or the preparation is another one.
    ## How to fix it
    Look at the words: where they are of another preparation (stemming, case, encoding), prepare both alike; where they
    are of another subject, train on such texts.
    ## When it is not a fault
    A second set about something else on purpose.
    ## Sources
    H. Bao et al. and others on vocabulary shift; the comparison within the first set is Good and Turing's estimate of
    the unseen (I. Good, "The population frequencies of species", Biometrika 1953).
    """

    severity = Severity.WARNING

    more = Limit(0.1, unit="share of the words, more than within the first set", why="every tenth word of a new text")
    errors = Limit(5.0, unit="standard errors of the difference", why="texts differ much in this")
    fewest = Limit(30, unit="texts in each set", why="the mean of fewer is off by several points")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Compare the shares of unknown words."""
        one, other = seen.train.texts, seen.test.texts if seen.test is not None else None
        if seen.test is None or one is None or other is None:
            yield self.cannot_tell("there are no two sets with a column of texts")
            return
        if min(len(one.values), len(other.values)) < self.fewest:
            yield self.cannot_tell(f"there {only(min(len(one.values), len(other.values)), 'text')} in a set")
            return
        first, second = one.of("unknown words"), other.of("unknown words")
        apart = float(second.mean() - first.mean())
        error = sqrt(first.var() / first.size + second.var() / second.size) + 1e-4
        if apart < self.more or apart < self.errors * error:
            return
        new = ", ".join(f"`{word[:20]}`" for word, _ in other.new_words[:6])
        evidence = [
            Evidence(
                "words of a text that no other text of the first set has",
                f"{second.mean():.1%} in the second set",
                f"{first.mean():.1%}, as in the first set itself",
                f"{first.size:,} and {second.size:,} texts",
            )
        ]
        if new:
            evidence.append(Evidence(f"texts with {new}", f"{other.new_words[0][1]:,} and fewer", "0 in the first set"))
        yield self.finding(
            f"{second.mean():.0%} of the words of {named(one.column)} are not in the first set",
            sureness=Sureness.LIKELY,
            place=Place(file=seen.test.name, columns=(one.column,)),
            evidence=evidence,
            cause="These texts are of another kind than those of the first set: another subject, language, time, or "
            "another preparation.",
            fixes=[
                "Prepare both by one function, and see which words are new:\n"
                + code(
                    "known = set(' '.join(train_texts).lower().split())", "new = [w for w in words if w not in known]"
                )
            ],
            unless="the second set is about something else on purpose.",
        )

    bad = Examples(lambda: {
        "half of the words": _sets(0.5),
        "next to a tenth more": _sets(0.203),
        "thirty texts": _sets(0.5, 30),
        "just sure": _sets(0.5, 30, spread=0.42),
    })  # fmt: skip
    good = Examples(lambda: {
        "as many": _sets(0.1),
        "hardly a tenth more": _sets(0.196),
        "29 texts": _sets(0.5, 29),
        "not sure": _sets(0.5, 30, spread=0.46),
    })  # fmt: skip


def _sets(unknown: float, count: int = 200, spread: float = 0.0) -> Data:
    """A first set in which a tenth of the words are in one text only, and a second one."""
    shares = [unknown + spread * (-1) ** i for i in range(count)]
    second = a_text_set(count, "test.csv", **{"unknown words": shares}, new_words=(("blorb", 9), ("quix", 4)))
    return two_texts(a_text_set(count), second)
