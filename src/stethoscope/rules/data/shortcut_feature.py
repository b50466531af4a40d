"""A property of the pictures, such as their size, that tells the class by itself."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.facts.data import Data
from stethoscope.facts.images import ImageSet
from stethoscope.rules.pictures import of_pictures
from stethoscope.rules.sites import code

OF_STORAGE = ("width", "height", "aspect")
"""Properties of how a picture was stored or cut, and not of what it shows."""
NAMED = 4


class ShortcutFeature(Rule):
    """Brightness, size or another plain property of the pictures tells the class by itself.

    ## What it sees
    For each property (brightness, contrast, sharpness, colours, size, shape) a rule of thumb is learned on one half of
    the pictures and tried on the other: the share of guessing's errors that it puts right.
    ## Why it hurts
    A network takes the easiest way. Where each class came from a source of its own (a camera, a clinic, a web site), it
    learns to tell the sources, and fails where the next picture comes from elsewhere.
    ## How to fix it
    Bring all pictures to one size and exposure, vary these in training, or gather each class from each source.
    ## When it is not a fault
    Classes that differ in this by nature: night and day, ripe and unripe.
    ## Sources
    R. Geirhos et al., "Shortcut Learning in Deep Neural Networks", Nature Machine Intelligence 2020. J. Zech et al.,
    "Variable generalization performance of a deep learning model to detect pneumonia in chest radiographs", 2018.
    """

    severity = Severity.WARNING

    tells = Limit(
        0.5, unit="share of guessing's errors put right, lower bound", why="digits by their ink alone reach 0.15"
    )

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge how well each property tells the class."""
        images = seen.train.images
        if images is None or not images.telling:
            yield self.cannot_tell("there are no pictures with classes, or too few of them")
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

    bad = Examples(lambda: {
        "size": of_pictures(telling=(("width", 0.95, 0.9, 50),)),
        "brightness": of_pictures(telling=(("brightness", 0.8, 0.7, 50), ("entropy", 0.3, 0.1, 50))),
        "next to the limit": of_pictures(telling=(("brightness", 0.6, 0.51, 50),)),
    })  # fmt: skip
    good = Examples(lambda: {
        "nothing tells": of_pictures(telling=(("brightness", 0.1, 0.0, 50),)),
        "hardly": of_pictures(telling=(("brightness", 0.6, 0.49, 50),)),
    })  # fmt: skip
