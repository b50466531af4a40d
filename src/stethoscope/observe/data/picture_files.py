"""Reads pictures, one at a time: from folders and arrays. What cannot be read becomes a clause that says why."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.facts.data import Rows

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".apng": "PNG", ".gif": "GIF",
    ".bmp": "BMP", ".dib": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP", ".ppm": "PPM", ".pgm": "PPM",
    ".pbm": "PPM", ".pnm": "PPM", ".tga": "TGA", ".avif": "AVIF", ".jp2": "JPEG2000", ".ico": "ICO",
}  # fmt: skip
"""Ending of a picture's name to the format that it promises."""
ALSO = {("JPEG", "MPO"), ("PNG", "APNG")}
"""Promised format and another one that any reader of it takes."""
TABLES = (".csv", ".tsv", ".parquet", ".json", ".jsonl", ".arrow", ".feather")
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}
LARGEST = 89_478_485
"""Pixels beyond which a picture is not decoded: 256 MB as RGB, the bound from which on Pillow warns. A JPEG may have
twice as many, as it is decoded at a smaller size; beyond that Pillow refuses."""
WIDE = 256
"""Pixels to which larger pictures are reduced before they are measured."""
ALPHA = ("RGBA", "LA", "PA")
ORIENTATION = 0x0112
PROBED = 50
"""Values of a column by which it is known for one of files."""
MOST_LOOKED_AT = 2000
"""Files by which a folder is known for one of pictures."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Opened:
    """One picture, decoded."""

    pixels: Bytes
    """(height, width, 3), reduced to about WIDE pixels."""
    mode: str
    size: tuple[int, int]
    """Width and height as stored."""
    promised: str = ""
    """The format that its name ends in, where it is another one."""
    real: str = ""
    is_hidden: bool = False
    """Whether all that it shows lies in its transparency: without, it is one colour."""
    is_turned: bool = False
    is_animated: bool = False


@dataclass(frozen=True)
class Folder:
    """The pictures of a folder, its first subfolders as their classes where all lie in some."""

    name: str
    paths: tuple[str, ...]
    files: tuple[str, ...]
    """The same relative to the folder, as text that can be printed."""
    labels: tuple[str, ...] = ()
    skipped: int = 0
    closed: tuple[tuple[str, str], ...] = ()
    """Folders that could not be read, and why."""
    rows: tuple[int, ...] = ()
    """Row of each in a table that lists them."""
    workers: int = 2
    """Threads that may read at once: Pillow decodes without holding the others up."""

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, place: int, wide: int = WIDE) -> Opened | str:
        """The picture, or why it cannot be read."""
        return read_file(self.paths[place], wide)


def holds_pictures(root: str) -> bool:
    pictures = seen = 0
    for path in _walk(root, []):
        ending = os.path.splitext(path)[1].lower()
        if ending in TABLES and os.path.dirname(path) == root and ending == ".parquet":
            return False
        pictures += ending in FORMATS
        seen += 1
        if seen >= MOST_LOOKED_AT:
            break
    return pictures > 0 and pictures >= 0.1 * seen


def _walk(root: str, closed: list[tuple[str, str]]) -> Iterator[str]:
    """The files below a folder, in the order of their names; hidden ones and links to folders left out."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError as error:
        closed.append((root, f"the folder cannot be read: {error.strerror}"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, closed)
        else:
            yield entry.path


def folder_of(root: str) -> Folder:
    """The pictures below a folder, with their classes."""
    closed: list[tuple[str, str]] = []
    every = list(_walk(root, closed))
    if any(path == root for path, _ in closed):
        raise BadFile(f"cannot read {printable(root)}: {closed[0][1]}")
    paths = [path for path in every if os.path.splitext(path)[1].lower() in FORMATS]
    inside = [os.path.relpath(path, root) for path in paths]
    first = [one.split(os.sep)[0] if os.sep in one else "" for one in inside]
    different = {one for one in first if one}
    if different and all(one.lower() in PARTS for one in different) and len(different) > 1:
        parts = sorted(different, key=lambda one: (not one.lower().startswith("train"), one))
        raise UsageError(
            f"{printable(root)} holds several sets: give {printable(os.path.join(root, parts[0]))}, "
            f"and --test {printable(os.path.join(root, parts[1]))}"
        )
    labels = tuple(printable(one) for one in first) if len(different) > 1 and "" not in first else ()
    return Folder(
        printable(root), tuple(paths), tuple(printable(one) for one in inside), labels,
        len(every) - len(paths), tuple((printable(os.path.relpath(path, root)), why) for path, why in closed),
    )  # fmt: skip


def listed(name: str, rows: Rows, folder: str, labels: NDArray[Any] | None) -> Folder | None:
    """The pictures that a column of a table names; None where no column does.

    Args:
        name: of the table.
        rows: its sample.
        folder: from which the names are counted.
        labels: (rows,) or None.
    """
    for values in rows.values.values():
        if values.dtype != object:
            continue
        present = [place for place, one in enumerate(values) if one is not None]
        probed = [str(values[place]) for place in present[:PROBED]]
        if not probed or any(os.path.splitext(one)[1].lower() not in FORMATS for one in probed):
            continue
        if sum(os.path.isfile(os.path.join(folder, one)) for one in probed) < len(probed) / 2:
            continue
        of = tuple(str(labels[place]) for place in present) if labels is not None else ()
        names = tuple(str(values[place]) for place in present)
        paths = tuple(os.path.join(folder, one) for one in names)
        return Folder(
            name, paths, tuple(printable(one) for one in names), of, rows=tuple(int(rows.index[i]) for i in present)
        )
    return None


def printable(name: str) -> str:
    """A file's name as text: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings about files are told as findings, not printed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_file(path: str, wide: int = WIDE) -> Opened | str:
    """A picture from a file, or why it cannot be read. The size is looked at before anything is decoded."""
    from PIL import Image, UnidentifiedImageError

    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return "is no file"
        if os.path.getsize(path) == 0:
            return "is empty"
        with Image.open(path) as image:
            if image.width * image.height > (2 if image.format == "JPEG" else 1) * LARGEST:
                return f"would unpack to {image.width:,} x {image.height:,} pixels"
            return _decoded(image, path, wide)
    except UnidentifiedImageError:
        return _what(path)
    except Image.DecompressionBombError:
        return f"would unpack to more than {2 * LARGEST:,} pixels"
    except MemoryError:
        return "does not fit into memory"
    except OSError as error:
        if error.strerror:
            return f"cannot be opened: {_words(error.strerror)}"
        return "is cut off" if "truncated" in str(error) else f"cannot be decoded: {_words(str(error))}"
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        return f"cannot be decoded: {_words(str(error) or type(error).__name__)}"


def _decoded(image: Image, path: str, wide: int) -> Opened:
    real, mode, size = image.format or "", image.mode, image.size
    promised = FORMATS.get(os.path.splitext(path)[1].lower(), "")
    is_other = bool(promised) and promised != real and (promised, real) not in ALSO
    is_animated = bool(getattr(image, "is_animated", False)) and real != "MPO"  # to count frames reads the whole file
    if max(size) > 2 * wide:
        image.draft("RGB", (wide, wide))
    image.load()
    turned = image.getexif().get(ORIENTATION, 1) not in (0, 1)
    step = max(1, max(image.size) // wide)
    if mode in ALPHA or "transparency" in image.info:  # several copies of it are made: the smaller one's
        image = (image if image.mode == "RGBA" else image.convert("RGBA")).reduce(step)
    whole = as_rgb(image, mode, step)
    hidden = mode in ALPHA and is_flat(image.convert("RGB")) and not is_flat(whole)
    if max(whole.size) > wide and (step := max(whole.size) // wide) > 1:
        whole = whole.reduce(step)
    return Opened(
        np.asarray(whole, np.uint8), mode, size, promised if is_other else "", real, hidden, bool(turned), is_animated
    )


def as_rgb(image: Image, mode: str, step: int = 1) -> Image:
    """As RGB, on white where it is transparent, as it is looked at.

    Deeper grays are brought to 0..255 by their depth, where Pillow would cut off what is above 255.

    Args:
        image: the picture.
        mode: as it was stored.
        step: pixels of a side that become one, of deeper grays: a byte of a file may be a gigabyte of doubles.
    """
    from PIL import Image as images

    if mode.startswith(("I", "F")):
        given = np.asarray(image)
        if given.dtype.kind == "f" and not np.isfinite(given).all():
            given = np.where(np.isfinite(given), given, np.float32(0))
        least, greatest = (float(given.min()), float(given.max())) if given.size else (0.0, 1.0)
        grays = _averaged(given, step)
        white = 1.0 if least >= 0 and greatest <= 1 and mode == "F" else 255.0 if greatest <= 255 else 65535.0
        return images.fromarray(np.clip(grays * (255 / max(white, greatest)), 0, 255).astype(np.uint8)).convert("RGB")
    if mode in ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        for ground in ("white", "black"):
            seen = images.alpha_composite(images.new("RGBA", image.size, ground), image).convert("RGB")
            if not is_flat(seen):
                break
        return seen
    return image if image.mode == "RGB" else image.convert("RGB")


def _averaged(grays: NDArray[Any], step: int) -> NDArray[np.float64]:
    """The means of squares of so many pixels a side; of a side that has fewer, as it is."""
    steps = [max(1, min(step, side)) for side in grays.shape[:2]]
    height, width = (side // one for side, one in zip(grays.shape, steps, strict=False))
    whole = grays[: height * steps[0], : width * steps[1]].reshape(height, steps[0], width, steps[1])
    return np.asarray(whole.mean((1, 3), dtype=np.float64))


def is_flat(image: Image) -> bool:
    """Whether all pixels of an RGB picture are equal."""
    pixels = np.asarray(image)
    return bool(pixels.size == 0 or (pixels == pixels[0, 0]).all())


def _what(path: str) -> str:
    """What a file that is no picture holds, by its first bytes."""
    with open(path, "rb") as file:
        start = file.read(256).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "holds a page of HTML, no picture"
    if start.startswith(b"version https://git-lfs"):
        return "holds a pointer of Git LFS, no picture"
    if start.startswith((b"{", b"<?xml")):
        return "holds text, no picture"
    return "holds no picture that can be read"


def _words(text: str) -> str:
    """A library's sentence as part of a clause."""
    words = " ".join(text.split())[:80].rstrip(".")
    return words[:1].lower() + words[1:]
