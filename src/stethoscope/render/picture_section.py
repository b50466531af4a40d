"""The pictures of a data set on its page: their properties, what tells the class, and a gallery of each class."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np

from stethoscope.core.finding import Diagnosis
from stethoscope.core.text import amount, number
from stethoscope.facts.data import Data, DataSet
from stethoscope.facts.images import PROPERTIES, ImageSet
from stethoscope.render.column_pictures import box_picture, column_picture
from stethoscope.render.markup import Html, joined, tag
from stethoscope.rules.columns import of_numbers

MOST_BOXES = 4
MOST_CLASSES = 12
LEAST_STRENGTH = 0.05
COLOURS = ("red", "green", "blue", "saturation")


def thumbnails_of(data: Data) -> dict[tuple[str, int], str]:
    """Name of the set and row, to the `data:` address of the picture."""
    return {
        (one.name, one.images.row(place)): address
        for one in data.sets
        if one.images is not None
        for place, address in one.images.thumbnails
    }


def shown(address: str, words: str = "") -> Html:
    """A thumbnail; nothing for an address of another kind."""
    start, _, coded = address.partition(",")
    if start != "data:image/jpeg;base64" or not coded.replace("+", "").replace("/", "").replace("=", "").isalnum():
        return Html("")
    return tag("img", alt=words, title=words, src=address)


def properties(data: Data) -> Html:
    """A small histogram of each property, of both sets."""
    one, other = data.train.images, data.test.images if data.test is not None else None
    if one is None:
        return Html("")
    figures, constant = [], []
    for name in _looked_at(one):
        first = of_numbers(name, one.of(name))
        values = np.concatenate([one.of(name), other.of(name) if other is not None else np.zeros(0)])
        if first.numbers is None or not first.numbers.count or np.ptp(values) == 0:
            constant += [f"{name} {number(float(values[0]))}"] if values.size else []
            continue
        second = of_numbers(name, other.of(name), grid=first.numbers.grid) if other is not None else None
        figures.append(tag("figure", tag("figcaption", tag("b", name)), column_picture(first, second), class_="even"))
    rest = tag("p", f"Alike in all: {', '.join(constant)}.", class_="quiet") if constant else ""
    return joined([tag("div", *figures, class_="columns"), rest])


def normalization(images: ImageSet) -> str:
    """Means and standard deviations of the channels as a line of code."""
    mean, std = (", ".join(f"{one:.3f}" for one in some) for some in (images.channel_means, images.channel_stds))
    return f"Normalize(mean=[{mean}], std=[{std}])"


def telling(images: ImageSet) -> Html:
    """A box for each class, for the properties that tell most of it."""
    figures = []
    names = np.array(images.labels, dtype=object)
    frequent = [name for name, _ in _classes(images)]
    told = [one for one in images.telling if one[0] in _looked_at(images)]
    for name, strength, _, _ in told[:MOST_BOXES]:
        if strength < LEAST_STRENGTH:
            continue
        groups = [(label, images.of(name)[names == label]) for label in frequent]
        words = joined([tag("b", name), f" puts {strength:.0%} of guessing's errors right"])
        figures.append(tag("figure", box_picture(name, groups), tag("figcaption", words)))
    return tag("div", *figures, class_="columns") if figures else Html("")


def galleries(diagnosis: Diagnosis, data: Data) -> Html:
    """The pictures of each class that a finding is about, and some others of the class."""
    images = data.train.images
    if images is None or not images.thumbnails:
        return Html("")
    why: dict[int, list[str]] = {}
    for finding in diagnosis.findings:
        for suspect in finding.suspects:
            # Beside its class: what else it seems to be, and else the name of the finding.
            better = suspect.why.partition(", like")[0].partition("predicted ")[2]
            said = f"predicted {better}" if finding.rule == "label-errors" and better else finding.rule
            if suspect.data == data.train.name and said not in why.setdefault(suspect.row, []):
                why[suspect.row].append(said)
    parts = []
    for label, count in _classes(images) if images.labels else [("", len(images.files))]:
        drawn = [(place, address) for place, address in images.thumbnails if not label or images.labels[place] == label]
        if not drawn:
            continue
        drawn.sort(key=lambda one: (images.row(one[0]) not in why, one[0]))
        cells = [
            tag(
                "figure",
                shown(address, images.files[place]),
                tag("figcaption", ", ".join(why[row])) if (row := images.row(place)) in why else "",
                class_="odd" if row in why else "even",
            )
            for place, address in drawn
        ]
        title = joined([tag("b", label or "all"), " ", amount(count, "picture")])
        parts.append(tag("div", tag("p", title), tag("div", *cells, class_="gallery")))
    return joined(parts)


def picture_parts(diagnosis: Diagnosis, data: Data) -> list[Html]:
    """What the section holds."""
    images = data.train.images
    if images is None:
        return []
    lead = joined(["Over all pixels, each picture alike: ", tag("code", normalization(images)), "."])
    parts = [tag("p", lead, class_="lead") if images.channel_means else Html(""), properties(data)]
    parts[1:1] = [tag("p", words, class_="lead") for words in map(_left, data.sets) if words]
    if data.test is not None:
        first, second = (PurePath(one.name).name for one in data.sets)
        words = (tag("span", first, class_="key-first"), " is filled, ", tag("span", second, class_="key-second"))
        parts.insert(1, tag("p", *words, " is the line.", class_="lead"))
    if boxes := telling(images):
        parts += [tag("h3", "What tells the class"), boxes]
    if drawn := galleries(diagnosis, data):
        parts += [tag("h3", "Pictures to look at, and others of the class"), drawn]
    return parts


def _left(one: DataSet) -> str:
    """What is not known of a set that has too many pictures; empty where all were looked at."""
    if one.images is None or not one.images.left:
        return ""
    return (
        f"Of the {one.images.total:,} pictures of {PurePath(one.name).name}, {len(one.images.files):,} were drawn at "
        "random and looked at. Shares hold for all of them; there are more copies and broken files than were found."
    )


def _looked_at(images: ImageSet) -> tuple[str, ...]:
    """The properties that are drawn: without those of colours where there are none."""
    if images.gray and all(images.gray):
        return tuple(name for name in PROPERTIES if name not in COLOURS)
    return PROPERTIES


def _classes(images: ImageSet) -> list[tuple[str, int]]:
    """The most frequent classes with their counts, in the order of their names."""
    names, counts = np.unique(np.array(images.labels, dtype=object), return_counts=True)
    first = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    return sorted((str(names[i]), int(counts[i])) for i in first)
