"""A property of pictures or texts, such as their size or length, that tells the class by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.data import Data
from stethoscope.facts.images import ImageSet
from stethoscope.facts.texts import TextSet
from stethoscope.rules.pictures import of_pictures
from stethoscope.rules.sites import code
from stethoscope.rules.texts import of_texts

OF_STORAGE = ("width", "height", "aspect")
"""Properties of how a picture was stored or cut, and not of what it shows."""
OF_LENGTH = ("characters", "words")
NAMED = 4


class ShortcutFeature(Rule):
    """A plain property of pictures or texts, such as size or length, tells the class by itself.

    ## What it sees
    For each property (brightness, contrast, sharpness, colours, size, shape; of texts length, upper case, digits,
    marks) a rule of thumb is learned on one half of the set and tried on the other: the share of guessing's errors that
    it puts right. Texts of one class are often somewhat longer; it is a warning where hardly more than the length needs
    to be known.
    ## Why it hurts
    A network takes the easiest way. Where each class came from a source of its own (a camera, a clinic, a web site), it
    learns to tell the sources, and fails where the next picture comes from elsewhere. Of texts, a limit of
    characters or a template of one source does the same.
    ## How to fix it
    Bring all pictures to one size and exposure, vary these in training, or gather each class from each source. Cut
    texts to a common length, and see what is left of the score.
    ## When it is not a fault
    Classes that differ in this by nature: night and day, ripe and unripe, headlines and articles.
    ## Sources
    R. Geirhos et al., "Shortcut Learning in Deep Neural Networks", Nature Machine Intelligence 2020. J. Zech et al.,
    "Variable generalization performance of a deep learning model to detect pneumonia in chest radiographs", 2018.
    S. Gururangan et al., "Annotation Artifacts in Natural Language Inference Data", NAACL 2018 (lengths).
    """

    severity = Severity.WARNING

    tells = Limit(
        0.5, unit="share of guessing's errors put right, lower bound", why="digits by their ink alone reach 0.15"
    )

    alone = Limit(
        0.8, unit="the same share for the length of texts, for a warning", why="spam in messages by length reaches 0.5"
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge how well each property tells the class."""
        images, texts = seen.train.images, seen.train.texts
        if texts is not None and texts.telling and seen.task == "classification":
            if telling := [one for one in texts.telling if one[2] >= self.tells]:
                yield self._of_texts(seen, telling, texts)
            if images is None:
                return
        if images is None or not images.telling:
            yield self.cannot_tell("there are no pictures or texts with classes, or too few of them")
            return
        found = [one for one in images.telling if one[2] >= self.tells]
        if found:
            yield self._report(seen, found, images)

    def _report(self, seen: Data, found: list[tuple[str, float, float, int]], images: ImageSet) -> Finding:
        stored = [one for one in found if one[0] in OF_STORAGE]
        name = (stored or found)[0][0]
        fix = (
            code("transforms.Resize(256), transforms.RandomResizedCrop(224)")
            if stored
            else code("transforms.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)")
        )
        return self.finding(
            f"{name} alone tells the class of {(stored or found)[0][1]:.0%} that guessing gets wrong",
            severity=Severity.WARNING if stored else Severity.NOTE,
            sureness=Sureness.LIKELY if stored else Sureness.POSSIBLE,
            place=Place(file=seen.train.name, columns=tuple(one[0] for one in found)),
            evidence=[
                Evidence(
                    f"share of guessing's errors that {one} puts right, {rows:,} held-out pictures",
                    f"{strength:.0%} (at least {low:.0%})",
                    "below 50 %",
                )
                for one, strength, low, rows in found[:NAMED]
            ],
            cause="How a picture was stored or cut says nothing about what it shows: the classes come from different "
            "sources, and a network can learn to tell these."
            if stored
            else "A network may learn this instead of what the pictures show, and fail where light or camera differ.",
            fixes=["Take the property away, or vary it in training:\n" + fix],
            unless="the classes differ in this by nature."
            if not stored
            else "new pictures come from the same sources.",
        )

    def _of_texts(self, seen: Data, found: list[tuple[str, float, float, int]], texts: TextSet) -> Finding:
        lengths = [one for one in found if one[0] in OF_LENGTH]
        name, strength = (lengths or found)[0][:2]
        is_alone = any(one[2] >= self.alone for one in lengths)
        what = {"characters": "the length of a text", "words": "the number of words"}.get(name, f"{name} of a text")
        return self.finding(
            f"{what} alone tells {strength:.0%} of what guessing gets wrong",
            severity=Severity.WARNING if is_alone else Severity.NOTE,
            sureness=Sureness.LIKELY if is_alone else Sureness.POSSIBLE,
            place=Place(file=seen.train.name, columns=(texts.column,)),
            evidence=[
                Evidence(
                    f"share of guessing's errors that {one} of the text put right, {rows:,} held-out texts",
                    f"{strength:.0%} (at least {low:.0%})",
                    "below 50 %",
                )
                for one, strength, low, rows in found[:NAMED]
            ],
            cause="The classes differ in form as much as in what is said: they come from different sources, were cut "
            "at different lengths, or one was written by a program. A network can learn the form.",
            fixes=[
                "Cut all texts to a length that both classes have, train again, and see what is left of the score:\n"
                + code(f"frame[{texts.column!r}] = frame[{texts.column!r}].str.slice(0, {_common(texts)})")
            ],
            unless="the classes differ in this by nature, and will when the model is used.",
        )

    bad = Examples(lambda: {
        "size": of_pictures(telling=(("width", 0.95, 0.9, 50),)),
        "brightness": of_pictures(telling=(("brightness", 0.8, 0.7, 50), ("entropy", 0.3, 0.1, 50))),
        "next to the limit": of_pictures(telling=(("brightness", 0.6, 0.51, 50),)),
        "the length of texts": of_texts(telling=(("characters", 0.95, 0.9, 80), ("words", 0.93, 0.88, 80))),
        "nearly alone": of_texts(telling=(("words", 0.85, 0.79, 80),)),
        "just alone": of_texts(telling=(("characters", 0.85, 0.81, 80),)),
        "capital letters": of_texts(telling=(("upper case", 0.9, 0.85, 80),)),
    })  # fmt: skip
    good = Examples(lambda: {
        "nothing tells": of_pictures(telling=(("brightness", 0.1, 0.0, 50),)),
        "somewhat longer": of_texts(telling=(("characters", 0.55, 0.45, 80),)),
        "hardly": of_pictures(telling=(("brightness", 0.6, 0.49, 50),)),
    })  # fmt: skip


def _common(texts: TextSet) -> int:
    """Characters that nine of ten texts have."""
    return max(1, int(np.quantile(texts.of("characters"), 0.1)))
