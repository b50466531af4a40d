"""Reads pictures, one at a time: from folders and arrays. What cannot be read becomes a clause that says why."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.errors import BadFile, MissingPiece, UsageError

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
"""Pixels beyond which a picture is not decoded: 256 MB as RGB, the bound from which on Pillow warns."""
WIDE = 256
"""Pixels to which larger pictures are reduced before they are measured."""
ORIENTATION = 0x0112
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
    white: float = 0.0

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, place: int, wide: int = WIDE) -> Opened | str:
        """The picture, or why it cannot be read."""
        return read_file(self.paths[place], wide)


@dataclass(frozen=True)
class Array:
    """Pictures in an array. Bytes count from 0 to 255, other numbers from 0 to `white`."""

    name: str
    array: Any
    """(pictures, height, width[, channels]) or (pictures, channels, height, width): an array of any library."""
    labels: tuple[str, ...] = ()
    white: float = 255.0
    skipped: int = 0
    closed: tuple[tuple[str, str], ...] = ()
    files: Sequence[str] = field(default_factory=tuple)

    def __len__(self) -> int:
        return len(self.array)

    def read(self, place: int, wide: int = WIDE) -> Opened | str:
        """The picture, or why it cannot be read."""
        one = as_pixels(self.array[place])
        if not np.isfinite(one).all():
            return "holds NaN or infinite values"
        scaled = np.clip(one.astype(np.float64) * (255 / self.white), 0, 255).astype(np.uint8)
        pixels = np.repeat(scaled[:, :, :1], 3, axis=2) if scaled.shape[2] < 3 else scaled[:, :, :3]
        step = max(1, -(-max(pixels.shape[:2]) // (2 * wide)))
        mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(one.shape[2], f"{one.shape[2]} channels")
        return Opened(np.ascontiguousarray(pixels[::step, ::step]), mode, (one.shape[1], one.shape[0]))


Pictures = Folder | Array


def as_pixels(one: Any) -> NDArray[Any]:
    """One picture of an array as (height, width, channels)."""
    pixels = np.asarray(one.detach().cpu() if hasattr(one, "detach") else one)
    if pixels.ndim == 2:
        return pixels[:, :, None]
    if pixels.shape[2] not in (1, 3, 4) and pixels.shape[0] in (1, 3, 4):
        return pixels.transpose(1, 2, 0)
    return pixels


def is_pictures(source: Any) -> bool:
    """Whether this is a folder of pictures, or an array of them, alone or with labels."""
    if isinstance(source, tuple) and len(source) == 2:
        source = source[0]
    if isinstance(source, str | bytes | os.PathLike):
        path = os.fsdecode(source)
        return os.path.isdir(path) and _holds_pictures(path)
    shape = getattr(source, "shape", None)
    if shape is None or not isinstance(shape, tuple) or not hasattr(source, "dtype"):
        return False
    if len(shape) == 4:
        return shape[1] in (1, 3, 4) or shape[3] in (1, 3, 4)
    return len(shape) == 3 and min(shape[1:]) >= 8 and str(source.dtype).endswith("uint8")


def open_pictures(source: Any, name: str) -> Pictures:
    """The pictures of a folder or an array (`Any`: a path, or an array of any library).

    Raises:
        UsageError: a folder that holds several sets.
        MissingPiece: Pillow is not installed.
        BadFile: a folder that cannot be read.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError as missing:
        raise MissingPiece("inspecting pictures needs Pillow: pip install 'stethoscope[data]'") from missing
    if isinstance(source, str | bytes | os.PathLike):
        return folder_of(os.fsdecode(source))
    labels: tuple[str, ...] = ()
    if isinstance(source, tuple):
        source, given = source
        labels = tuple(str(one) for one in np.asarray(given).ravel().tolist())
        if len(labels) != len(source):
            raise UsageError(f"{name} has {len(source)} pictures and {len(labels)} labels; expected as many of both")
    greatest = float(source.max()) if len(source) else 0.0
    white = next((one for one in (1.0, 255.0, 65535.0) if greatest <= one * 1.001), greatest)
    if str(source.dtype).endswith("uint8"):
        white = 255.0
    return Array(name, source, labels, white, files=tuple(f"picture {i}" for i in range(len(source))))


def _holds_pictures(root: str) -> bool:
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
            if image.width * image.height > LARGEST:
                return f"would unpack to {image.width:,} x {image.height:,} pixels"
            return _decoded(image, path, wide)
    except UnidentifiedImageError:
        return _what(path)
    except Image.DecompressionBombError:
        return f"would unpack to more than {2 * LARGEST:,} pixels"
    except MemoryError:
        return "does not fit into memory"
    except OSError as error:
        return _clause(error.strerror or str(error))
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        return _clause(str(error) or type(error).__name__)


def _decoded(image: Image, path: str, wide: int) -> Opened:
    real, mode, size = image.format or "", image.mode, image.size
    promised = FORMATS.get(os.path.splitext(path)[1].lower(), "")
    is_other = bool(promised) and promised != real and (promised, real) not in ALSO
    is_animated = int(getattr(image, "n_frames", 1)) > 1 and real != "MPO"
    if max(size) > 2 * wide:
        image.draft("RGB", (wide, wide))
    image.load()
    turned = image.getexif().get(ORIENTATION, 1) not in (0, 1)
    whole = _as_rgb(image, mode)
    step = max(whole.size) // wide
    if step > 1:
        whole = whole.reduce(step)
    return Opened(
        np.asarray(whole, np.uint8), mode, size, promised if is_other else "", real, bool(turned), is_animated
    )


def _as_rgb(image: Image, mode: str) -> Image:
    """As RGB; deeper grays are brought to 0..255 by their depth, where Pillow would cut off what is above 255."""
    from PIL import Image as images

    if mode.startswith(("I", "F")):
        grays = np.asarray(image, np.float64)
        grays = np.where(np.isfinite(grays), grays, 0)
        least, greatest = (float(grays.min()), float(grays.max())) if grays.size else (0.0, 1.0)
        white = 1.0 if least >= 0 and greatest <= 1 and mode == "F" else 255.0 if greatest <= 255 else 65535.0
        return images.fromarray(np.clip(grays * (255 / max(white, greatest)), 0, 255).astype(np.uint8)).convert("RGB")
    if mode in ("P", "PA", "LA"):
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


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


def _clause(text: str) -> str:
    """A library's sentence as a clause, without paths and line ends."""
    words = " ".join(text.split())[:100].rstrip(".")
    return words[:1].lower() + words[1:] if words else "cannot be read"
