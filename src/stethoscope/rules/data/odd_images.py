"""Pictures that are unlike the others of their set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Limit, Rule
from stethoscope.core.text import amount, number
from stethoscope.facts.data import Data, DataSet
from stethoscope.facts.images import ImageSet
from stethoscope.rules.pictures import MOST_ROWS, of_pictures, row_at
from stethoscope.rules.sites import code

DARK, LIGHT = 0.05, 0.95
"""Mean brightness of 0..1 beyond which a picture is dark or light by itself."""
SMOOTH = 0.01
"""Variance of the Laplacian over that of the grays, below which a picture is blurred by itself: 0.1 to 3 in photos."""
BLURRED = 0.16
"""Focus below which it is: a Gaussian blur of a pixel leaves 0.11 to 0.17 of any picture, and a sharp one has 0.18 to
1.5."""
LONG = 2.5
"""Larger by smaller side."""
GRAYS = 0.1
"""Share of gray pictures up to which they are the exception."""
TAIL = 0.05
"""Share of the pictures by which the usual distance from the middle one is known."""
FLOORS = {"width": np.log(2.0), "aspect": np.log(1.25)}
"""Least usual distance, as a logarithm: where all pictures have one size, a little difference is none."""
LEAST = 0.1
"""The same of all else: a tenth."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Oddity:
    """A way of being odd, and the pictures that are, the oddest first."""

    what: str
    """Behind `are`: `nearly black`."""
    rows: NDArray[np.int64]
    values: Doubles
    """Of the property, of all pictures."""
    name: str
    """Of the property."""


class OddImages(Rule):
    """Some pictures are blank, or far darker, lighter, blurrier or of another shape than the rest.

    ## What it sees
    Brightness, sharpness, size and shape of each picture, beside those of the set: it is told when it lies both beyond
    what is usual for any picture and far beyond the others, and when only few do. Dark is a picture whose lightest
    parts are far darker than those of the others, and light one whose darkest parts are far lighter, as an exposure
    that went wrong leaves it, whatever is shown. A set of dark pictures has no dark one. Blurred is a picture whose
    finest details weigh far less than those of twice the size, which clouds, drawings and renderings keep; in a set
    that is smooth itself, one that is far smoother. Pictures of a single colour are told in any set, and gray ones
    where nearly all have colours.
    ## Why it hurts
    Most are slips: a lens cap, a failed export, a thumbnail among photos, a banner. Their labels cannot be learned,
    and what is learned from them is wrong.
    ## How to fix it
    Look at them, and take those out that show nothing.
    ## When it is not a fault
    Night, fog, snow and close-ups, where they belong to the task.
    ## Sources
    J. Mueller et al., cleanvision (the kinds); its issues on false alarms of fixed thresholds (the two conditions).
    D. Field, "Relations between the statistics of natural images and the response properties of cortical cells", 1987
    (what a sharp picture has of each size of details).
    """

    severity = Severity.NOTE

    blank = Limit(0.005, unit="standard deviation of the grays of 0..1", why="one of 256 steps; clear sky has two")
    many = Limit(0.01, unit="share of blank pictures for a warning", why="as of any label that cannot be learned")
    times = Limit(2.0, unit="distance from the middle / that of the 5 % furthest", why="normal pictures reach 3.3 SD")
    exposed = Limit(
        3.0,
        unit="the same distance, of the lightest or darkest hundredth of the pixels",
        why="two of 3,564 clean pictures lie beyond, one at night; a third of the light in a mixed set gives 3 to 4",
    )
    rare = Limit(0.02, unit="share of the pictures", why="more than that are a kind of their own")
    fewest = Limit(50, unit="pictures", why="in fewer it is not known what is usual")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the pictures of each set."""
        sets = [one for one in seen.sets if one.images is not None]
        if not sets:
            yield self.cannot_tell("the data are no pictures")
        for one in sets:
            images = one.images or ImageSet()
            if len(images.files) < self.fewest:
                yield self.cannot_tell(f"{one.name} has only {amount(len(images.files), 'picture')}")
                continue
            blank = np.flatnonzero(images.of("contrast") < self.blank)
            if 0 < blank.size < len(images.files):
                yield self._blank(one, images, blank)
            for oddity in self._oddities(images):
                yield self._odd(one, images, oddity)

    def _oddities(self, images: ImageSet) -> Iterator[Oddity]:
        shown = images.of("contrast") >= self.blank
        names = ("brightness", "shadows", "highlights", "width", "aspect")
        bright, shadows, highlights, wide, long = (images.of(name) for name in names)
        area = np.sqrt(wide * images.of("height"))
        black, white, exposed = bright < DARK, bright > LIGHT, self.exposed
        kinds = [
            ("nearly black", bright, "brightness", -np.log(bright + 1e-3), shown & black, self.times),
            ("nearly white", bright, "brightness", -np.log(1.001 - bright), shown & white, self.times),
            ("far darker than the rest", highlights, "highlights", -np.log(highlights + 0.01), shown & ~black, exposed),
            ("far lighter than the rest", shadows, "shadows", -np.log(1.01 - shadows), shown & ~white, exposed),
            ("far smaller than the others", area, "width", -np.log(area), shown, self.times),
            ("far larger than the others", area, "width", np.log(area), shown, self.times),
            ("far longer than wide", long, "aspect", np.log(long), shown & (long > LONG), self.times),
        ]  # fmt: skip
        found = [
            Oddity(what, self._far(scale, FLOORS.get(name, LEAST), times, by_itself), values, name)
            for what, values, name, scale, by_itself, times in kinds
        ]
        for oddity in (*found[:4], self._blurred(images, shown), *found[4:]):
            if 0 < oddity.rows.size <= self.rare * bright.size:
                yield oddity
        gray = np.array(images.gray, bool)
        if gray.size and 0 < gray.sum() <= GRAYS * gray.size:
            yield Oddity("gray, among pictures in colours", np.flatnonzero(gray), images.of("saturation"), "colour")

    def _blurred(self, images: ImageSet, shown: NDArray[np.bool_]) -> Oddity:
        """By what is lost of the finest details, and by how smooth it is beside a set that is smooth itself."""
        focus, sharp = images.of("focus"), images.of("sharpness")
        lost = self._far(-np.log(focus + 1e-3), LEAST, self.times, shown & (focus < BLURRED))
        smooth = self._far(-np.log(sharp + 1e-5), LEAST, self.times, shown & (sharp < SMOOTH))
        if not lost.size:
            return Oddity("blurred", smooth, sharp, "sharpness")
        return Oddity("blurred", np.concatenate([lost, smooth[~np.isin(smooth, lost)]]), focus, "focus")

    def _far(self, scale: Doubles, floor: float, times: float, by_itself: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Which lie above the middle by many times as much as is usual, and are odd by themselves; the oddest first."""
        middle, edge = np.quantile(scale, [0.5, 1 - TAIL])
        rows = np.flatnonzero(by_itself & (scale - middle > times * max(float(edge - middle), floor)))
        return rows[np.argsort(-scale[rows], kind="stable")]

    def _blank(self, one: DataSet, images: ImageSet, rows: NDArray[np.int64]) -> Finding:
        total = len(images.files)
        return self.finding(
            f"{rows.size:,} of {total:,} pictures {'shows' if rows.size == 1 else 'show'} a single colour",
            severity=Severity.WARNING if rows.size >= self.many * total else Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=Place(file=one.name),
            evidence=[
                Evidence(
                    "standard deviation of the grays of 0..1, largest of them",
                    float(f"{images.of('contrast')[rows].max():.2g}"),
                    f"about {np.median(images.of('contrast')):.2g}, as in the middle picture",
                )
            ],
            cause="There is nothing in them that a label could be learned from: a failed export or download, a lens "
            "cap, or the margin of a larger picture.",
            fixes=["Take them out; they are listed by:\n" + code(_LIST)],
            unless="an empty picture is an answer, such as open sea among ships.",
            suspects=[row_at(one, int(row), "one colour") for row in rows[:MOST_ROWS]],
        )

    def _odd(self, one: DataSet, images: ImageSet, odd: Oddity) -> Finding:
        total = len(images.files)
        low, high = np.quantile(odd.values, [0.05, 0.95])
        return self.finding(
            f"{odd.rows.size:,} of {total:,} pictures {'is' if odd.rows.size == 1 else 'are'} {odd.what}"[:72],
            sureness=Sureness.POSSIBLE,
            place=Place(file=one.name),
            evidence=[
                Evidence(
                    f"{_NAMES.get(odd.name, odd.name)} of the first of them",
                    _short(float(odd.values[odd.rows[0]])),
                    f"{_short(float(low))} to {_short(float(high))}, as 90 % of the set",
                )
            ],
            cause="Few pictures of the set are like that. Some are slips, others rare cases.",
            fixes=["Look at them before training:\n" + code(_LIST)],
            unless="such pictures belong to the task.",
            suspects=[row_at(one, int(row)) for row in odd.rows[:MOST_ROWS]],
        )

    bad = Examples(lambda: {
        "black": of_pictures(contrast=0.0),
        "next to blank": of_pictures(200, contrast=0.0048),
        "a hundredth is blank": of_pictures(contrast=[0.001] * 1),
        "not quite a hundredth": of_pictures(104, contrast=[0.001] * 1),
        "dark": of_pictures(brightness=[0.02]),
        "next to usual": of_pictures(200, width=64 * 4.1, height=64 * 4.1),
        "light": of_pictures(brightness=[0.999]),
        "smoother than a smooth set": of_pictures(sharpness=[0.0002]),
        "blurred": of_pictures(focus=[0.1]),
        "blurred and smooth": of_pictures(200, focus=[0.1, 0.12], sharpness=[0.3, 0.3, 0.0002]),
        "half of the light": of_pictures(highlights=[0.4], brightness=[0.2]),
        "next to far darker": of_pictures(200, highlights=[0.553]),
        "the lens was open": of_pictures(shadows=[0.55], brightness=[0.7]),
        "a thumbnail": of_pictures(width=[8.0], height=[8.0]),
        "a banner": of_pictures(aspect=[9.0]),
        "two of a hundred": of_pictures(brightness=[0.01, 0.012]),
        "gray among colours": of_pictures(gray=(True,) * 3 + (False,) * 97),
        "fifty pictures": of_pictures(50, contrast=[0.0]),
    })  # fmt: skip
    good = Examples(lambda: {
        "alike": of_pictures(),
        "next to unusual": of_pictures(200, width=64 * 3.9, height=64 * 3.9),
        "hardly not blank": of_pictures(200, contrast=[0.0052]),
        "all are dark": of_pictures(brightness=np.linspace(0.02, 0.06, 100)),
        "next to not far darker": of_pictures(200, highlights=[0.564]),
        "not quite as sharp": of_pictures(focus=[0.2]),
        "all are blurred": of_pictures(focus=np.linspace(0.08, 0.16, 100)),
        "a day and a night": of_pictures(highlights=np.where(np.arange(100) < 10, 0.3, 0.9)),
        "all are gray": of_pictures(gray=(True,) * 100),
        "five of a hundred": of_pictures(brightness=[0.01, 0.012, 0.013, 0.014, 0.015]),
        "just above two of a hundred": of_pictures(195, brightness=[0.0101, 0.0102, 0.0103, 0.0104]),
        "49 pictures": of_pictures(49, contrast=[0.0]),
    })  # fmt: skip


_LIST = "stethoscope data TRAIN --suspects pictures.csv"
_NAMES = {
    "width": "root of the pixels",
    "aspect": "larger by smaller side",
    "colour": "saturation",
    "focus": "variance of the finest details by that of the next coarser ones",
    "highlights": "gray that 1 % of the pixels are lighter than, 0..1,",
    "shadows": "gray that 1 % of the pixels are darker than, 0..1,",
}


def _short(value: float) -> str:
    return number(float(f"{value:.3g}"))
