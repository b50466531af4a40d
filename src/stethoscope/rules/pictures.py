"""Words about pictures, and sets of them made of a few numbers: what rules for pictures and their examples share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stethoscope.core.finding import Evidence, Finding, Place, Severity, Sureness, SuspectRow
from stethoscope.core.rule import Rule
from stethoscope.core.text import amount
from stethoscope.facts.data import Column, Data, DataSet, Profile, Words
from stethoscope.facts.images import PROPERTIES, ImageSet, SharedImages
from stethoscope.rules.sites import code

MOST_ROWS = 100
"""Suspicious pictures of a finding."""
FEW = 0.01
"""Share of the pictures from which on copies are a warning."""
BY_NATURE = 3.0
"""Times the share of pictures that look alike within the first set: as alike as that are two sets that share none."""
BLANK = 0.005
"""Standard deviation of the grays of 0..1 below which a picture shows a single colour, as in odd-images."""
FEWEST = 50
"""Pictures from which on odd-images judges them."""


def row_at(one: DataSet, row: int, why: str = "", score: float = 0.0) -> SuspectRow:
    """A picture with its file and its class."""
    images = one.images or ImageSet()
    values = [("file", images.files[row])]
    if images.labels:
        values.append(("class", images.labels[row]))
    return SuspectRow(one.name, images.row(row), tuple(values), why, score)


def rows_at(one: DataSet, rows: Iterable[int], why: str = "") -> list[SuspectRow]:
    """Pictures that have the same wrong with them."""
    return [row_at(one, row, why) for row in rows][:MOST_ROWS]


def repeated(images: ImageSet) -> int:
    """Files whose pixels an earlier one has."""
    return sum(len(group) - 1 for group in _same(images))


def _same(images: ImageSet) -> list[tuple[int, ...]]:
    """Groups of files with the same pixels; those of a single colour are told by odd-images, where it can judge."""
    if len(images.files) < FEWEST:
        return list(images.same)
    contrast = images.of("contrast")
    return [group for group in images.same if contrast[group[0]] >= BLANK]


def copies(rule: Rule, seen: Data) -> Iterator[Finding]:
    """Pictures that stand in the first set more than once, or look like another one of it."""
    images = seen.train.images
    if images is None:
        return
    total = len(images.files)
    place = Place(file=seen.train.name)
    if count := repeated(images):
        yield rule.finding(
            f"{count:,} of {total:,} pictures {'repeats' if count == 1 else 'repeat'} the pixels of another file",
            severity=Severity.WARNING if count >= FEW * total else Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=place,
            evidence=[Evidence("files with the pixels of another one", f"{count:,} ({count / total:.1%})", "0")],
            cause="Copies weigh a picture more than others. Split at random, they fall on both sides, and a test "
            "score counts what was learned by heart.",
            fixes=["Keep one of each group; the others are among the suspects:\n" + code(_SUSPECTS)],
            unless="copies weigh rare pictures on purpose.",
            suspects=_of_groups(seen.train, _same(images), "the same pixels as"),
        )
    if images.alike:
        near = sum(len(group) - 1 for group in images.alike)
        yield rule.finding(
            f"{near:,} of {total:,} pictures {'looks' if near == 1 else 'look'} the same as another one",
            severity=Severity.NOTE,
            sureness=Sureness.LIKELY,
            place=place,
            evidence=[Evidence("pictures that look like an earlier one", f"{near:,} ({near / total:.1%})", "0")],
            cause="They are one picture in another size, quality or exposure, or frames of one scene. Split at random, "
            "one is learned and the other one tests.",
            fixes=["Split by scene or source, or keep one of each group:\n" + code(_SUSPECTS)],
            unless="the split keeps what belongs together on one side.",
            suspects=_of_groups(seen.train, images.alike, "looks like"),
        )


def conflicts(rule: Rule, seen: Data, share: float) -> Iterator[Finding]:
    """The same picture in several classes."""
    images = seen.train.images
    if images is None or not images.labels:
        return
    groups = [group for group in _same(images) if len({images.labels[i] for i in group}) > 1]
    count = sum(len(group) for group in groups)
    if not count:
        return
    names = sorted({images.labels[i] for i in groups[0]})
    yield rule.finding(
        f"{amount(count, 'picture')} with the same pixels in different classes",
        severity=Severity.WARNING if count >= share * len(images.files) else Severity.NOTE,
        sureness=Sureness.CERTAIN,
        place=Place(file=seen.train.name),
        evidence=[
            Evidence(
                "pictures whose pixels stand in another class, too", f"{count:,}", "0", f"first {', '.join(names)}"
            )
        ],
        cause="Of two labels of one picture one is wrong, or both are right and it needs several labels.",
        fixes=["Look at them, and keep one label of each:\n" + code(_SUSPECTS)],
        unless="a picture may show several classes.",
        suspects=_of_groups(seen.train, groups, "the same pixels as"),
    )


def overlap(rule: Rule, seen: Data, share: float) -> Iterator[Finding]:
    """Pictures of the second set that the first one has.

    Args:
        rule: whose findings they are.
        seen: two sets.
        share: of the second set, from which on copies are an error.
    """
    found, test = seen.shared_images, seen.test
    if found is None or test is None or test.images is None or seen.train.images is None:
        return
    first, total = seen.train.images, len(test.images.files)
    within = sum(len(group) for group in first.alike) / max(1, len(first.files))
    for pairs, what in ((found.exact, "the pixels of"), (found.near, "looks like")):
        part = len(pairs) / max(1, total)
        near = pairs is found.near
        if not pairs or (near and part <= BY_NATURE * within):
            continue
        grave = Severity.ERROR if part >= share else Severity.WARNING if part >= FEW else Severity.NOTE
        if near and grave is Severity.ERROR:
            grave = Severity.WARNING
        yield rule.finding(
            f"{len(pairs):,} of {total:,} pictures of the second set "
            + _verb(len(pairs), near),
            severity=grave,
            sureness=Sureness.LIKELY if near else Sureness.CERTAIN,
            place=Place(file=test.name),
            evidence=[
                Evidence(
                    "pictures that look the same" if near else "pictures with the same pixels",
                    f"{len(pairs):,} ({part:.1%})",
                    f"{within:.1%}, as within the first set" if near and within else "0",
                )
            ],
            cause="The second set asks for what was learned by heart: its score is too good, and says little about new "
            "pictures. "
            + ("Other sizes or qualities of one picture, and frames of one scene, give this." if near else
               "Copies that were made before the split give this, and two splits of one folder."),
            fixes=["Remove from the second set what the first one has:\n" + code(_SUSPECTS)],
            unless="the second set is not used to measure anything.",
            suspects=[
                row_at(test, row, f"{what} {first.files[other]} of the first") for other, row in pairs[:MOST_ROWS]
            ],
        )  # fmt: skip


def _verb(count: int, near: bool) -> str:
    if near:
        return f"{'looks' if count == 1 else 'look'} like one of the first"
    return f"{'is' if count == 1 else 'are'} in the first, too"


_SUSPECTS = "stethoscope data TRAIN --test TEST --suspects pictures.csv"


def scales(rule: Rule, seen: Data) -> Iterator[Finding]:
    """Arrays of pictures of which one counts to 1 and the other one to 255."""
    one, other = seen.train.images, seen.test.images if seen.test is not None else None
    if one is None or other is None or not one.white or not other.white or one.white == other.white:
        return
    yield rule.finding(
        f"pictures count to {other.white:,g} in the second set, to {one.white:,g} in the first",
        severity=Severity.ERROR,
        sureness=Sureness.CERTAIN,
        place=Place(file=seen.test.name if seen.test is not None else None),
        evidence=[Evidence("largest value, rounded up to 1, 255 or 65,535", other.white, one.white)],
        cause="One set was divided by its largest value, and the other one was not: a network that has learned from "
        "one meets numbers of another size.",
        fixes=["Prepare both in the same way:\n" + code("images = images / 255")],
        unless="they are divided later on.",
    )


def _of_groups(one: DataSet, groups: Sequence[tuple[int, ...]], why: str) -> list[SuspectRow]:
    images = one.images or ImageSet()
    rows = []
    for group in groups:
        rows.append(row_at(one, group[0], f"{why} {images.files[group[1]]}"))
        rows += [row_at(one, row, f"{why} {images.files[group[0]]}") for row in group[1:]]
        if len(rows) >= MOST_ROWS:
            break
    return rows


def a_folder(count: int = 100, name: str = "images", **facts: Any) -> DataSet:
    """A set of pictures, each a little different from the others (`facts`: further ones, and columns of values)."""
    spread = np.linspace(0, 1, max(1, count))
    values = {
        "brightness": 0.3 + 0.4 * spread, "contrast": 0.15 + 0.1 * spread, "sharpness": 0.2 + 0.5 * spread,
        "entropy": 6 + spread, "width": np.full(count, 64.0), "height": np.full(count, 64.0), "aspect": np.ones(count),
        "red": 0.3 + 0.4 * spread, "green": 0.3 + 0.4 * spread, "blue": 0.3 + 0.4 * spread,
        "saturation": 0.2 + 0.3 * spread, "focus": 0.3 + 0.4 * spread,
        "shadows": 0.02 + 0.1 * spread, "highlights": 0.7 + 0.2 * spread,
    }  # fmt: skip
    for key in [key for key in facts if key in PROPERTIES]:
        given = np.atleast_1d(np.asarray(facts.pop(key), np.float64))
        values[key] = values[key].copy()
        values[key][: given.size] = given
    known: dict[str, Any] = {
        "files": tuple(f"{i}.png" for i in range(count)),
        "values": np.stack([values[key] for key in PROPERTIES], 1),
        "modes": ("RGB",) * count,
        "gray": (False,) * count,
    }
    images = replace(ImageSet(), **(known | facts))
    columns: tuple[Column, ...] = ()
    if images.labels:
        top = tuple((one, images.labels.count(one)) for one in sorted(set(images.labels)))
        columns = (Column("class", "category", "folder", count, words=Words(count, len(top), top=top)),)
    return DataSet(name, Profile(count, columns), images=images)


def of_pictures(count: int = 100, **facts: Any) -> Data:
    """One set of pictures."""
    one = a_folder(count, **facts)
    return Data(
        one, target="class" if one.profile.columns else "", task="classification" if one.profile.columns else ""
    )


def two_folders(
    count: int = 100, *, exact: int = 0, near: int = 0, alike: tuple[tuple[int, ...], ...] = ()
) -> Data:  # fmt: skip
    """Two sets that share some pictures."""
    shared = SharedImages(tuple((i, i) for i in range(exact)), tuple((i, i) for i in range(exact, exact + near)))
    return Data(a_folder(count, alike=alike), a_folder(count, "newer"), shared_images=shared)


def counted_to(first: float, second: float) -> Data:
    """Two arrays of pictures with these values for white."""
    return Data(a_folder(white=first), a_folder(name="newer", white=second))
