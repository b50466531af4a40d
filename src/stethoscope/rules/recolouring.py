"""Pictures of two sets whose channels are in another order, or of which one has lost its colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stethoscope.core.finding import Evidence, Finding, Fix, Place, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.data import Data
from stethoscope.facts.images import PROPERTIES, ImageSet
from stethoscope.rules.budget import SHARES
from stethoscope.rules.columns import of_numbers
from stethoscope.rules.shifting import Shift, judged, percent
from stethoscope.rules.sites import code

FEWEST = 20
"""Pictures of which that can be said."""
NEARLY_ALL = 0.9
"""Of the pictures of one set are gray, more than of the other."""
SURE = 6.0
"""Standard errors by which red differs from blue in both sets, for all pictures taken together."""
OF_EXCHANGED = (
    "red", "blue", "brightness", "contrast", "sharpness", "entropy", "focus", "shadows", "highlights",
)  # fmt: skip
"""Properties that move when red and blue change places: red counts for three in a gray, and blue for one."""
OF_GRAY = ("red", "green", "blue", "saturation")
"""Properties that move when the colours go."""


@dataclass(frozen=True)
class Recoloured:
    """What was done to the colours of the second set."""

    what: str
    """`exchanged` or `gray`."""
    columns: tuple[str, ...]
    """The properties that move by that alone."""
    evidence: tuple[Evidence, ...]


def recoloured(seen: Data) -> Recoloured | None:
    """What happened to the colours between the two sets; None where nothing did."""
    one, other = seen.train.images, seen.test.images if seen.test is not None else None
    if one is None or other is None or min(len(one.values), len(other.values)) < FEWEST:
        return None
    grays = [float(np.mean(each.gray)) if each.gray else 0.0 for each in (one, other)]
    if abs(grays[0] - grays[1]) >= NEARLY_ALL:
        told = Evidence("gray pictures of the second set", percent(grays[1]), percent(grays[0]), "in training")
        return Recoloured("gray", OF_GRAY, (told,))
    sides = [_red_over_blue(each) for each in (one, other)]
    (first, error), (second, error_other) = sides
    mirrored = first * second < 0 and min(abs(first) / error, abs(second) / error_other) >= SURE
    mirrored = mirrored and abs(first + second) < 0.5 * min(abs(first), abs(second))
    if not (mirrored and _is_exchanged(one, other, abs(first))) and not _fits_exchanged(one, other):
        return None
    told = Evidence("mean red less mean blue, of 0..1", f"{second:+.3f}", f"{first:+.3f}", "in the training set")
    return Recoloured("exchanged", OF_EXCHANGED, (told,))


def colours(rule: Rule, seen: Data) -> Iterator[Finding]:
    """Pictures whose red and blue have changed places, or that have lost their colours."""
    found = recoloured(seen)
    if found is None or seen.test is None:
        return
    place = Place(file=seen.test.name, columns=found.columns)
    if found.what == "gray":
        yield rule.finding(
            "the pictures of one set are gray, those of the other have colours",
            severity=Severity.ERROR,
            sureness=Sureness.CERTAIN,
            place=place,
            evidence=found.evidence,
            cause="A model that has learned from colours meets none, or the reverse.",
            fixes=[Fix("Read both in the same way:\n" + code('image = Image.open(path).convert("RGB")'))],
            unless="colours are taken away in training as well, later on.",
        )
        return
    yield rule.finding(
        "red and blue have changed places in the pictures of the second set",
        severity=Severity.ERROR,
        place=place,
        evidence=found.evidence,
        cause="The channels of one set are in the order RGB and those of the other in BGR: one was read by OpenCV, "
        "which gives BGR.",
        fixes=[Fix("Turn what OpenCV reads:\n" + code("image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)"))],
        unless="the two sets show other things.",
    )


def _is_exchanged(one: ImageSet, other: ImageSet, apart: float) -> bool:
    """Whether red is like the other set's blue, blue like its red, and green like green, as far as can be told."""
    for mine, theirs in (("red", "blue"), ("blue", "red"), ("green", "green")):
        a, b = one.values[:, PROPERTIES.index(mine)], other.values[:, PROPERTIES.index(theirs)]
        error = float(np.sqrt(a.var() / a.size + b.var() / b.size))
        if abs(float(a.mean() - b.mean())) > max(0.5 * apart, 3 * error):
            return False
    return True


def _fits_exchanged(one: ImageSet, other: ImageSet) -> bool:
    """Whether red and blue have both shifted, each lies as the other did, and green is where it was."""

    def moved(mine: str, theirs: str) -> tuple[Shift, ...]:
        first = of_numbers("share", one.values[:, PROPERTIES.index(mine)])
        grid = first.numbers.grid if first.numbers is not None else None
        second = of_numbers("share", other.values[:, PROPERTIES.index(theirs)], grid=grid)
        return judged([(first, second)], SHARES["inconsistent-preprocessing"])

    as_they_are = (*moved("red", "red"), *moved("blue", "blue"))
    exchanged = (*moved("red", "blue"), *moved("blue", "red"), *moved("green", "green"))
    if len(as_they_are) < 2 or any(shift.verdict != "shift" for shift in as_they_are):
        return False
    least = min(shift.gap.size for shift in as_they_are)
    return all(shift.verdict != "shift" and shift.gap.size < 0.5 * least for shift in exchanged)


def _red_over_blue(images: ImageSet) -> tuple[float, float]:
    """The mean of red less blue over the pictures, and its standard error."""
    red, blue = (images.values[:, PROPERTIES.index(name)] for name in ("red", "blue"))
    apart = (red - blue)[np.isfinite(red - blue)]
    return (float(apart.mean()), float(apart.std() / np.sqrt(apart.size)) + 1e-9) if apart.size else (0.0, 1.0)
