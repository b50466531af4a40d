"""Pictures that are stored in several ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from stethoscope.core.finding import CannotTell, Evidence, Finding, Place, Severity, Sureness
from stethoscope.core.rule import Examples, Rule
from stethoscope.facts.data import Data, DataSet
from stethoscope.facts.images import ImageSet
from stethoscope.rules.pictures import of_pictures, rows_at
from stethoscope.rules.sites import code

WORDS = {
    "RGB": "colours", "L": "gray", "1": "black and white", "P": "a palette", "RGBA": "colours with transparency",
    "LA": "gray with transparency", "PA": "a palette with transparency", "CMYK": "inks (CMYK)",
}  # fmt: skip


class MixedImageModes(Rule):
    """Pictures of one set have different channels or depths, or need to be turned.

    ## What it sees
    How each file is stored: gray, colours, a palette, transparency, inks for print, 16 bits; whether its EXIF tag says
    to turn it before it is shown; files that hold several pictures; and pictures that are empty but for transparency.
    ## Why it hurts
    The same loader makes arrays of one, three or four channels of them, or cuts 16 bits off at 255 and leaves a white
    picture. A palette read as it is gives numbers of colours and no colours. A picture that is not turned lies on its
    side, beside labels and boxes that stand upright.
    ## How to fix it
    Convert each picture explicitly where it is read, by `ImageOps.exif_transpose` and `convert("RGB")`.
    ## When it is not a fault
    A loader that does this already; most do the conversion to RGB, few turn.
    ## Sources
    The documentation of Pillow on modes, and on `ImageOps.exif_transpose`.
    """

    severity = Severity.NOTE

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Judge how the pictures of each set are stored."""
        sets = [one for one in seen.sets if one.images is not None]
        if not sets:
            yield self.cannot_tell("the data are no pictures")
        for one in sets:
            images = one.images or ImageSet()
            modes = Counter(images.modes)
            if len(modes) > 1:
                yield self._mixed(one, images, modes)
            if images.turned:
                yield self._told(
                    one, images.turned, "needs to be turned by its EXIF tag", "need to be turned by their EXIF tag",
                    "Viewers turn them, and most loaders do not: they lie on their side, or are mirrored.",
                    "Turn them where they are read:\n" + code("image = ImageOps.exif_transpose(Image.open(path))"),
                    "the loader turns them.",
                )  # fmt: skip
            if images.hidden:
                yield self._told(
                    one, images.hidden, "shows one colour without its transparency",
                    "show one colour without their transparency",
                    "All that they show lies in the fourth channel. `convert('RGB')` drops it, and leaves them black.",
                    "Put them on a ground where they are read:\n"
                    + code(
                        'ground = Image.new("RGBA", image.size, "white")',
                        'image = Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")',
                    ),
                    "the loader reads four channels.",
                )  # fmt: skip
            if images.animated:
                yield self._told(
                    one, images.animated, "holds several frames", "hold several frames",
                    "A loader takes the first frame, or an array with one more axis.",
                    "Take one frame explicitly:\n" + code("image.seek(0)", 'image = image.convert("RGB")'),
                    "the first frame is meant.",
                )  # fmt: skip

    def _mixed(self, one: DataSet, images: ImageSet, modes: Counter[str]) -> Finding:
        usual = modes.most_common(1)[0][0]
        others = [i for i, mode in enumerate(images.modes) if mode != usual]
        deep = [mode for mode in modes if _is_deep(mode)]
        is_deep = 0 < len(deep) < len(modes)
        return self.finding(
            f"{len(others):,} of {len(images.files):,} pictures {'is' if len(others) == 1 else 'are'} "
            f"stored in another way than the rest",
            severity=Severity.WARNING if is_deep else Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=Place(file=one.name),
            evidence=[
                Evidence(
                    f"pictures with {_words(mode)}" + (f" (mode {mode})" if mode else ""),
                    f"{count:,}",
                    "all or none",
                )
                for mode, count in modes.most_common(6)
            ],
            cause="Pillow cuts 16 bits off at 255 where it converts them, so that they turn white; scaled by 255, they "
            "are 257 times as bright as the others."
            if is_deep
            else "Arrays made of them as they are have different numbers of channels, or numbers of a palette.",
            fixes=[
                "Bring the deep ones to 8 bits before they are converted:\n"
                + code('image = Image.fromarray((numpy.asarray(image) / 257).astype("uint8"))')
                if is_deep
                else "Convert each where it is read:\n" + code('image = Image.open(path).convert("RGB")')
            ],
            unless="the loader converts each of them.",
            suspects=rows_at(one, others),
        )

    def _told(
        self, one: DataSet, rows: Sequence[int], once: str, what: str, cause: str, fix: str, unless: str
    ) -> Finding:
        return self.finding(
            f"{len(rows):,} of {one.profile.rows:,} pictures {once if len(rows) == 1 else what}",
            sureness=Sureness.CERTAIN,
            place=Place(file=one.name),
            evidence=[Evidence(f"pictures that {what}", f"{len(rows):,}", "0")],
            cause=cause,
            fixes=[fix],
            unless=unless,
            suspects=rows_at(one, rows),
        )

    bad = Examples(lambda: {
        "some gray": of_pictures(modes=("RGB",) * 90 + ("L",) * 10),
        "16 bits among 8": of_pictures(modes=("L",) * 90 + ("I;16",) * 10),
        "hidden": of_pictures(hidden=(1, 2, 3)),
        "turned": of_pictures(turned=(3, 4)),
        "an animation": of_pictures(animated=(7,)),
    })  # fmt: skip
    good = Examples(lambda: {
        "all in colours": of_pictures(),
        "all gray": of_pictures(modes=("L",) * 100),
        "all of 16 bits": of_pictures(modes=("I;16",) * 100),
    })  # fmt: skip


def _is_deep(mode: str) -> bool:
    return mode.startswith(("I", "F"))


def _words(mode: str) -> str:
    return "more than 8 bits" if _is_deep(mode) else WORDS.get(mode, "other channels")
