"""What is seen in pictures: their properties, their hashes, copies of each other, and how well one property tells a
class. One picture is in memory at a time; of each, some hundred bytes stay."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.errors import BadFile
from stethoscope.facts.data import Column, Data, DataSet, LabelSuspects, Profile, Rows, Words
from stethoscope.facts.images import PROPERTIES, ImageSet, SharedImages
from stethoscope.observe.data.likeness import SIDE, alike_pairs, evened, grouped, perceptual, same_groups
from stethoscope.observe.data.picture_files import Opened, listed, quiet
from stethoscope.observe.data.picture_labels import CELLS, look_of, picture_suspects
from stethoscope.observe.data.picture_labels import SIDE as EDGED
from stethoscope.observe.data.picture_sources import Pictures, Samples
from stethoscope.observe.data.sharpness import sharpness_and_focus
from stethoscope.observe.data.ties import ties

if TYPE_CHECKING:
    from PIL.Image import Image

CLASS = "class"
"""Name of the column of classes."""
THUMBNAIL = 96
QUALITY = 60
GRAY = 3
"""Largest distance of two channels of 0..255 in a gray picture: JPEG rounds each of them."""
EXTREME = 0.01
"""Share of the pixels that may be darker than the shadows, or lighter than the highlights: specks and glints."""
MOST_THUMBNAILS = 84
"""Of a page: 2 to 4 KB each."""
MOST_SUSPECTS = 48
"""Of them, those that a finding is about, of each set."""
MOST_CLASSES = 12
OF_A_CLASS = 3
"""Examples of a class."""
STANDARDIZED: dict[str, Any] = {"channel_means": (), "channel_stds": ()}
"""What is not known of pictures that were standardized before."""
MOST_PICTURES = 50_000
"""Of a set: a minute of small ones, and some minutes of photos."""
AT_ONCE = 64
"""Pictures that are read by two threads before their numbers are put down."""

Bytes = NDArray[np.uint8]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Looked:
    """Pictures that were measured; `small` and `pictures` serve to compare two sets and to draw."""

    images: ImageSet
    pictures: Pictures
    places: tuple[int, ...]
    """Of the readable ones among `pictures`."""
    small: Bytes
    looks: Bytes
    """What models of the class are told of each."""

    def as_set(self) -> DataSet:
        """As a data set whose only column is the class."""
        rows, labels = len(self.images.files), self.images.labels
        if not labels:
            return DataSet(self.pictures.name, Profile(rows), images=self.images)
        names, counts = np.unique(np.array(labels, dtype=object), return_counts=True)
        top = sorted(((str(a), int(b)) for a, b in zip(names, counts, strict=True)), key=lambda one: (-one[1], one[0]))
        column = Column(CLASS, "category", "folder", rows, words=Words(rows, len(top), top=tuple(top)))
        sample = Rows(np.arange(rows), {CLASS: np.array(labels, dtype=object)})
        return DataSet(self.pictures.name, Profile(rows, (column,)), sample, images=self.images)

    def with_thumbnails(self, rows: Iterable[int]) -> ImageSet:
        """The facts with small pictures of these, by their place."""
        made = []
        with quiet():
            for place in dict.fromkeys(rows):
                one = self.pictures.read(self.places[place], THUMBNAIL)
                if isinstance(one, Opened):
                    made.append((place, thumbnail(one.pixels)))
        return replace(self.images, thumbnails=tuple(made))


def drawn(count: int, most: int) -> Sequence[int]:
    """The places of all pictures, or of so many drawn at random, ascending: the same ones each time.

    At even distances they would be of one kind where kinds take turns, as a picture and its mask do.
    """
    if count <= most:
        return range(count)
    chosen: list[int] = np.sort(np.random.default_rng(0).choice(count, most, replace=False)).tolist()
    return chosen


def look(pictures: Pictures, tell: Callable[[float], None] | None = None) -> Looked:
    """Measure all pictures, or MOST_PICTURES drawn at random. Raises BadFile where none can be read.

    Cost: the decoding of each file, and two milliseconds; 700 bytes of memory a picture.

    Args:
        pictures: the set.
        tell: told the share of it (0..1) that is done.
    """
    chosen = drawn(len(pictures), MOST_PICTURES)
    kept: list[_Seen] = []
    broken = list(pictures.closed)
    places: list[int] = []
    with quiet(), ThreadPoolExecutor(pictures.workers) as pool:
        for start in range(0, len(chosen), AT_ONCE):
            block = chosen[start : start + AT_ONCE]
            if tell is not None:
                tell(start / len(chosen))
            for place, one in zip(block, pool.map(lambda i: _seen(pictures.read(i)), block), strict=True):
                if isinstance(one, str):
                    broken.append((pictures.files[place], one))
                else:
                    kept.append(one)
                    places.append(place)
    if not kept:
        why = f": {broken[0][0]} {broken[0][1]}" if broken else ""
        raise BadFile(f"{pictures.name} holds no picture that can be read{why}")
    small = np.stack([one.small for one in kept])
    hashes = tuple(one.pixels for one in kept)
    same = same_groups(hashes)
    group = np.arange(len(kept))
    for each in same:
        group[list(each)] = each[0]
    bits = np.array([one.looks for one in kept], np.uint64)
    means = np.mean([one.means for one in kept], axis=0)
    squares = np.mean([one.squares for one in kept], axis=0)
    labels = tuple(pictures.labels[i] for i in places) if pictures.labels else ()
    first = np.array([group[i] == i for i in range(len(kept))])
    lone = np.flatnonzero(first)
    pairs = [(int(lone[a]), int(lone[b])) for a, b in alike_pairs(bits[lone], small[lone], range(lone.size))]
    values = np.array([one.values for one in kept])
    images = ImageSet(
        files=tuple(pictures.files[i] for i in places), labels=labels, values=values,
        modes=tuple(one.opened.mode for one in kept), gray=tuple(one.is_gray for one in kept), broken=tuple(broken),
        mislabelled=tuple((i, one.opened.real) for i, one in enumerate(kept) if one.opened.promised),
        turned=tuple(i for i, one in enumerate(kept) if one.opened.is_turned),
        hidden=tuple(i for i, one in enumerate(kept) if one.opened.is_hidden),
        animated=tuple(i for i, one in enumerate(kept) if one.opened.is_animated),
        same=same, alike=grouped(pairs),
        channel_means=tuple(means.tolist()), channel_stds=tuple(np.sqrt(np.maximum(0, squares - means**2)).tolist()),
        skipped=pictures.skipped, left=len(pictures) - len(chosen), hashes=hashes,
        perceptual=tuple(bits.tolist()), telling=_telling(values, labels),
    )  # fmt: skip
    if isinstance(pictures, Samples):
        images = replace(images, white=pictures.white) if pictures.low == 0 else replace(images, **STANDARDIZED)
    return Looked(images, pictures, tuple(places), small, np.stack([one.look for one in kept]))


def shared(one: Looked, other: Looked) -> SharedImages:
    """Pictures of the second set that the first one has as well."""
    first: dict[str, int] = {}
    for place, key in enumerate(one.images.hashes):
        first.setdefault(key, place)
    exact = [(first[key], place) for place, key in enumerate(other.images.hashes) if key in first]
    known = {place for _, place in exact}
    count = len(one.images.files)
    bits = np.array([*one.images.perceptual, *other.images.perceptual], np.uint64)
    pairs = alike_pairs(bits, np.concatenate([one.small, other.small]), range(bits.size))
    near: dict[int, int] = {}
    for a, b in pairs:
        if a < count <= b and b - count not in known:
            near.setdefault(b - count, a)
    return SharedImages(tuple(exact), tuple((a, b) for b, a in sorted(near.items())))


def data_of(looked: Sequence[Looked]) -> Data:
    """One set of pictures, or two, to be judged; the class by folder is the target."""
    sets = [one.as_set() for one in looked]
    is_labelled = bool(looked[0].images.labels)
    if is_labelled:
        sets[0] = replace(sets[0], labels=picture_suspects(looked[0].images.labels, looked[0].looks))
    return Data(
        sets[0], sets[1] if len(sets) > 1 else None, target=CLASS if is_labelled else "",
        task="classification" if is_labelled else "",
        shared_images=shared(looked[0], looked[1]) if len(looked) > 1 else None,
    )  # fmt: skip


def with_listed(data: Data, folders: Sequence[str]) -> tuple[Data, list[Looked]]:
    """With the pictures that a column of a table names, of the sampled rows; the same where none does.

    Args:
        data: tables.
        folders: from which the names are counted, of each set.
    """
    looked = []
    for one, folder in zip(data.sets, folders, strict=True):
        labels = one.sample.values.get(data.target) if data.task == "classification" else None
        pictures = listed(one.name, one.sample, folder, labels)
        if pictures is None:
            return data, []
        seen = look(pictures)
        index = tuple(pictures.rows[i] for i in seen.places)
        looked.append(replace(seen, images=replace(seen.images, index=index)))
    sets = [replace(one, images=seen.images) for one, seen in zip(data.sets, looked, strict=True)]
    sets[0] = replace(sets[0], labels=_better(sets[0].labels, looked[0]))
    both = shared(looked[0], looked[1]) if len(looked) > 1 else None
    return replace(data, train=sets[0], test=sets[1] if len(sets) > 1 else None, shared_images=both), looked


def _better(told: LabelSuspects | None, seen: Looked) -> LabelSuspects | None:
    """What the pictures say of the labels, where they know them better than the columns beside them do."""
    if not seen.images.labels:
        return told
    found = picture_suspects(seen.images.labels, seen.looks)
    if told is not None and not told.why and not found.accuracy > told.accuracy:
        return told
    row = seen.images.row
    suspects = (replace(one, row=row(one.row), near=tuple(map(row, one.near))) for one in found.suspects)
    return replace(found, suspects=tuple(suspects))


def illustrated(data: Data, looked: Sequence[Looked], rows: Mapping[str, Sequence[int]]) -> Data:
    """With thumbnails of these rows of each set, and of the first pictures of each class of the first one."""
    sets = []
    left = MOST_THUMBNAILS
    for place, (one, seen) in enumerate(zip(data.sets, looked, strict=True)):
        places = {seen.images.row(i): i for i in range(len(seen.images.files))}
        wanted = [places[row] for row in dict.fromkeys(rows.get(one.name, ())) if row in places][:MOST_SUSPECTS]
        wanted += _examples(one.images) if place == 0 and one.images is not None else []
        images = seen.with_thumbnails(list(dict.fromkeys(wanted))[:left])
        left -= len(images.thumbnails)
        sets.append(replace(one, images=images))
    return replace(data, train=sets[0], test=sets[1] if len(sets) > 1 else None)


def _examples(images: ImageSet) -> list[int]:
    """The middle pictures of each class, in the order of the files."""
    labels = np.array(images.labels or [""] * len(images.files), dtype=object)
    found: list[int] = []
    for name in sorted(set(labels.tolist()))[:MOST_CLASSES]:
        places = np.flatnonzero(labels == name)
        found += [int(one) for one in places[np.linspace(0, places.size - 1, OF_A_CLASS + 2).astype(int)[1:-1]]]
    return found


def thumbnail(pixels: Bytes) -> str:
    """A picture as a `data:` address of a JPEG of at most 96 pixels. Shape: (height, width, 3)."""
    from PIL import Image as images

    image = images.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    page = io.BytesIO()
    image.save(page, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(page.getvalue()).decode()


@dataclass(frozen=True)
class _Seen:
    """What stays of one picture."""

    opened: Opened
    values: tuple[float, ...]
    is_gray: bool
    pixels: str
    looks: int
    small: Bytes
    look: Bytes
    means: Doubles
    squares: Doubles


def _seen(opened: Opened | str) -> _Seen | str:
    if isinstance(opened, str):
        return opened
    from PIL import Image as images
    from PIL.Image import Resampling

    pixels = opened.pixels
    image = images.fromarray(pixels)
    gray = image.convert("L")
    fine = gray.convert("F")
    small = evened(_shrunk(fine, SIDE, SIDE)).astype(np.uint8).ravel()
    looks = perceptual(evened(_shrunk(fine, 9, 8)))
    edged = _shrunk(fine, EDGED, EDGED)
    look = look_of(edged, np.asarray(image.resize((CELLS, CELLS), Resampling.BOX), np.float64))
    scaled = pixels.reshape(-1, 3).astype(np.float32) / np.float32(255)
    means, squares = scaled.mean(0, dtype=np.float64), (scaled**2).mean(0, dtype=np.float64)
    high, low = pixels.max(2), pixels.min(2)
    width, height = opened.size
    grays = np.asarray(gray, np.float32) / np.float32(255)
    tops = float(high.mean())
    darker = np.cumsum(gray.histogram()) / gray.width / gray.height
    shadows, highlights = (float(np.searchsorted(darker, share)) / 255 for share in (EXTREME, 1 - EXTREME))
    sharpness, focus = sharpness_and_focus(grays)
    values = {
        "brightness": float(grays.mean()), "contrast": float(grays.std()), "sharpness": sharpness,
        "entropy": float(gray.entropy()), "width": float(width), "height": float(height),
        "aspect": max(width, height) / max(1, min(width, height)), "red": float(means[0]), "green": float(means[1]),
        "blue": float(means[2]), "saturation": (tops - float(low.mean())) / tops if tops else 0.0,
        "focus": focus, "shadows": shadows, "highlights": highlights,
    }  # fmt: skip
    key = hashlib.blake2b(pixels.tobytes(), digest_size=12, person=f"{width}x{height}".encode()[:16]).hexdigest()
    kept = replace(opened, pixels=np.zeros((0, 0, 3), np.uint8))
    is_gray = bool((high.astype(np.int16) - low).max(initial=0) <= GRAY)
    return _Seen(kept, tuple(values[name] for name in PROPERTIES), is_gray, key, looks, small, look, means, squares)


def _shrunk(fine: Image, width: int, height: int) -> Doubles:
    """Grays of a picture of this size; not box by box, which would depend on the size that it had."""
    from PIL.Image import Resampling

    return np.asarray(fine.resize((width, height), Resampling.BILINEAR), np.float64)


def _telling(values: Doubles, labels: tuple[str, ...]) -> tuple[tuple[str, float, float, int], ...]:
    if not labels:
        return ()
    columns: dict[str, NDArray[np.float64] | NDArray[np.object_]] = {CLASS: np.array(labels, dtype=object)}
    for place, name in enumerate(PROPERTIES):
        columns[name] = values[:, place]
    found = ties(Rows(np.arange(len(labels)), columns), CLASS, "classification")
    return tuple((tie.column, tie.strength, tie.low, tie.rows) for tie in found)
