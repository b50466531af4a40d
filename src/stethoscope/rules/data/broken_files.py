"""Files of pictures that cannot be read, or are not what their names say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Examples, Rule
from stethoscope.core.text import amount
from stethoscope.facts.data import Data, DataSet
from stethoscope.facts.images import ImageSet
from stethoscope.rules.pictures import MOST_ROWS, of_pictures, row_at
from stethoscope.rules.sites import code

NAMED = 5


class BrokenFiles(Rule):
    """Files of a folder of pictures cannot be read, or hold another format than their names say.

    ## What it sees
    Each file is opened and decoded to its end: those that are cut off, empty, no pictures at all (a page of HTML that
    a server sent instead, a pointer of Git LFS), or would unpack to more pixels than any photo has. Files whose
    content is of another format than their ending are told as a note.
    ## Why it hurts
    A loader stops in the middle of an epoch, or a tolerant one leaves gray stretches where the file ends. Readers that
    go by the ending (`decode_jpeg`) fail on a PNG that is called `.jpg`.
    ## How to fix it
    Fetch or export the files again, or leave them out.
    ## When it is not a fault
    A loader that catches them, and a set that is large enough without.
    ## Sources
    The documentation of Pillow on `ImageFile.LOAD_TRUNCATED_IMAGES` and `Image.MAX_IMAGE_PIXELS`.
    """

    severity = Severity.WARNING

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge the files of each set."""
        sets = [one for one in seen.sets if one.images is not None]
        if not sets:
            yield self.cannot_tell("the data are no pictures")
        for one in sets:
            images = one.images or ImageSet()
            if images.broken:
                yield self._broken(one, images)
            if images.mislabelled:
                yield self._mislabelled(one, images)

    def _broken(self, one: DataSet, images: ImageSet) -> Finding:
        total = len(images.files) + len(images.broken)
        reasons = Counter(why for _, why in images.broken)
        return self.finding(
            f"{amount(len(images.broken), 'file')} of {total:,} cannot be read as a picture",
            sureness=Sureness.CERTAIN,
            place=Place(file=one.name),
            evidence=[
                Evidence(f"files, each of which {why}"[:120], f"{count:,}", "0")
                for why, count in reasons.most_common(NAMED)
            ],
            cause="A loader fails when it comes to them, most often hours into the training, or fills in gray.",
            fixes=["Fetch or export them again, or leave them out; they are listed by:\n" + code(_LIST)],
            unless="the loader catches them.",
            suspects=[SuspectRow(one.name, -1, (("file", name),), why) for name, why in images.broken[:MOST_ROWS]],
        )

    def _mislabelled(self, one: DataSet, images: ImageSet) -> Finding:
        rows = [row_at(one, row, f"is {real}") for row, real in images.mislabelled[:MOST_ROWS]]
        first = images.mislabelled[0]
        return self.finding(
            f"{amount(len(rows), 'picture')} of another format than the name says",
            severity=Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=Place(file=one.name),
            evidence=[
                Evidence(
                    "names whose ending is not the format of the content",
                    f"{len(images.mislabelled):,}, first {images.files[first[0]]} ({first[1]})"[:120],
                    "0",
                )
            ],
            cause="Readers that go by the content take them, and those that go by the ending fail.",
            fixes=["Give them their own ending, or read them by content: `PIL.Image.open` does."],
            unless="they are read by their content.",
            suspects=rows,
        )

    bad = Examples(lambda: {
        "cut off": of_pictures(broken=(("a.jpg", "is cut off"), ("b.jpg", "is empty"))),
        "another format": of_pictures(mislabelled=((3, "PNG"),)),
    })  # fmt: skip
    good = Examples(lambda: {"all can be read": of_pictures()})


_LIST = "stethoscope data TRAIN --suspects pictures.csv"
