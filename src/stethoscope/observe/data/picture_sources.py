"""Pictures from wherever they are: a folder, an array, a data set or loader that gives one after the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stethoscope.core.errors import MissingPiece, UsageError
from stethoscope.observe.data.picture_files import WIDE, Folder, Opened, as_rgb, folder_of, holds_pictures

CHANNELS = (1, 3, 4)
PICTURES = ("image", "img", "pixel_values", "x")
LABELS = ("label", "labels", "target", "class", "y", "fine_label")
"""What data sets of dicts call these."""
TABLES = ("builtins", "pandas", "polars", "pyarrow", "duckdb", "_duckdb", "dask", "ibis", "pyspark", "narwhals")
"""Modules whose things are no pictures."""
MOST_HELD = 500_000_000
"""Bytes of the pictures that are taken from a stream, the first ones."""
WHITES = (1.0, 255.0, 65535.0)
MOST_OF_A_STREAM = 10_000
PROBED = 64
"""Pictures by which the range of their numbers is known."""


@dataclass(frozen=True)
class Samples:
    """Pictures of an array, or of a data set that gives them by their number, as arrays or as Pillow's pictures."""

    name: str
    source: Any
    """An array (pictures, height, width[, channels]) or (pictures, channels, height, width), or a data set."""
    labels: tuple[str, ...] = ()
    low: float = 0.0
    white: float = 255.0
    files: Sequence[str] = field(default_factory=tuple)
    skipped: int = 0
    closed: tuple[tuple[str, str], ...] = ()
    workers: int = 1

    def __len__(self) -> int:
        return len(self.source)

    def read(self, place: int, wide: int = WIDE) -> Opened | str:
        """The picture, or why it cannot be read."""
        try:
            one = picture_of(self.source[place])
        except Exception as error:  # a data set of the user's fails in its own way
            return f"cannot be read: {type(error).__name__}"
        if hasattr(one, "convert"):
            pixels, mode, size = np.asarray(as_rgb(one, one.mode)), str(one.mode), one.size
        else:
            given = as_pixels(one)
            if not np.isfinite(given).all():
                return "holds NaN or infinite values"
            size, mode = (given.shape[1], given.shape[0]), {1: "L", 3: "RGB", 4: "RGBA"}.get(given.shape[2], "")
            scaled = (given.astype(np.float64) - self.low) * (255 / ((self.white - self.low) or 1.0))
            pixels = np.clip(np.round(scaled), 0, 255).astype(np.uint8)
            pixels = np.repeat(pixels[:, :, :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[:, :, :3]
        step = max(1, -(-max(pixels.shape[:2]) // (2 * wide)))
        return Opened(np.ascontiguousarray(pixels[::step, ::step]), mode, size)


Pictures = Folder | Samples


def is_pictures(source: Any) -> bool:
    """Whether this is a folder of pictures, an array of them, alone or with labels, or a data set that gives some."""
    if isinstance(source, tuple) and len(source) == 2:
        source = source[0]
    if isinstance(source, str | bytes | os.PathLike):
        path = os.fsdecode(source)
        return os.path.isdir(path) and holds_pictures(path)
    shape = getattr(source, "shape", None)
    if shape is not None and hasattr(source, "dtype"):
        if len(shape) == 4:
            return shape[1] in CHANNELS or shape[3] in CHANNELS
        return len(shape) == 3 and min(shape[1:]) >= 8 and str(source.dtype).endswith("uint8")
    return _gives_pictures(getattr(source, "dataset", source))


def _gives_pictures(source: Any) -> bool:
    """Whether the first sample of a data set is a picture, or begins with one."""
    if type(source).__module__.split(".")[0] in TABLES:
        return False
    try:
        one = picture_of(_first(source))
    except Exception:  # whatever it is, it gives no picture
        return False
    if hasattr(one, "convert") and hasattr(one, "getbands"):
        return True
    shape = tuple(getattr(one, "shape", ()))
    return len(shape) == 3 and (shape[0] in CHANNELS or shape[2] in CHANNELS) and min(sorted(shape)[1:]) >= 8


def _first(source: Any) -> Any:
    """The first sample; of a stream one is drawn only where it begins anew each time."""
    if _has_places(source):
        return source[0]
    if not hasattr(type(source), "__iter__"):  # a frame gives a column for each number that it is asked for
        return None
    stream = iter(source)
    return None if stream is source else next(stream)


def _has_places(source: Any) -> bool:
    return hasattr(source, "__getitem__") and hasattr(source, "__len__")


def picture_of(sample: Any) -> Any:
    """The picture of a sample: itself, its first part, or what it calls `image`."""
    if isinstance(sample, dict):
        return next((sample[name] for name in PICTURES if name in sample), None)
    return sample[0] if isinstance(sample, tuple | list) else sample


def label_of(sample: Any, target: str = "") -> Any:
    """The label of a sample: its second part, or what it calls `label`.

    Raises: LookupError where it has none.
    """
    if isinstance(sample, dict):
        return sample[next(name for name in (target, *LABELS) if name in sample)]
    return sample[1]


def called(source: Any) -> tuple[str, ...]:
    """What the samples of a data set call their parts; empty where they are no dicts."""
    try:
        one = _first(getattr(source, "dataset", source))
    except Exception:  # a data set of the user's fails in its own way
        return ()
    return tuple(map(str, one)) if isinstance(one, dict) else ()


def as_pixels(one: Any) -> NDArray[Any]:
    """One picture as (height, width, channels)."""
    pixels = np.asarray(one.detach().cpu() if hasattr(one, "detach") else one)
    if pixels.ndim == 2:
        return pixels[:, :, None]
    if pixels.shape[2] not in CHANNELS and pixels.shape[0] in CHANNELS:
        return pixels.transpose(1, 2, 0)
    return pixels


def open_pictures(source: Any, name: str, target: str = "") -> Pictures:
    """The pictures of a folder, an array or a data set (`Any`: a path, or what the user's libraries have).

    Args:
        source: what the user gave.
        name: what it is called.
        target: what samples that are dicts call their label; found by itself when empty.

    Raises:
        UsageError: a folder that holds several sets, or labels that do not go with the pictures.
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
    source = getattr(source, "dataset", source) if not _is_array(source) else source
    if not _is_array(source) and not _has_places(source):
        source = _held(source)
    if not labels and not _is_array(source):
        labels = _labels(source, target)
    low, white = _range(source)
    return Samples(name, source, labels, low, white, tuple(f"sample {place}" for place in range(len(source))))


def _is_array(source: Any) -> bool:
    """Whether it is an array: data sets of Hugging Face have a shape as well."""
    return hasattr(source, "shape") and hasattr(source, "dtype")


def _held(stream: Any) -> list[Any]:
    """The first samples of a stream, as many as there is room for."""
    held, room = [], MOST_HELD
    for sample in stream:
        one = picture_of(sample)
        size = getattr(one, "nbytes", None) or 3 * getattr(one, "width", 0) * getattr(one, "height", 0)
        room -= int(size)
        held.append(sample)
        if room < 0 or len(held) >= MOST_OF_A_STREAM:
            break
    return held


def _labels(source: Any, target: str = "") -> tuple[str, ...]:
    """The labels that a data set has beside its pictures; empty where it has none."""
    given = getattr(source, "targets", None)
    features = getattr(source, "features", None)
    names = getattr(source, "classes", None)
    try:
        if isinstance(features, dict) and given is None:  # of Hugging Face: without decoding the pictures
            column = next(one for one in (target, *LABELS) if one in features)
            given, names = source[column], getattr(features[column], "names", None)
        if given is None:
            given = [label_of(source[place], target) for place in range(len(source))]
        values = [one.item() if hasattr(one, "item") else one for one in given]
    except Exception:  # samples without a label, or with several values for one
        return ()
    if len(values) != len(source) or not all(isinstance(one, int | str) for one in values):
        return ()
    if names is not None and all(isinstance(one, int) and 0 <= one < len(names) for one in values):
        return tuple(str(names[one]) for one in values)
    return tuple(str(one) for one in values)


def _range(source: Any) -> tuple[float, float]:
    """What is black and what is white: 0 and 1, 255 or 65,535, or the ends of what was standardized."""
    ends = []
    for place in sorted(set(np.linspace(0, len(source) - 1, min(PROBED, len(source))).astype(int).tolist())):
        one = picture_of(source[place])
        if hasattr(one, "convert"):
            return 0.0, 0.0
        pixels = as_pixels(one)
        if pixels.dtype == np.uint8:
            return 0.0, 255.0
        finite = pixels[np.isfinite(pixels)]
        if finite.size:
            ends.append((float(finite.min()), float(finite.max())))
    if not ends:
        return 0.0, 255.0
    least, greatest = min(one for one, _ in ends), max(one for _, one in ends)
    if least < -1e-3:
        return least, greatest
    return 0.0, next((one for one in WHITES if greatest <= one * 1.001), greatest)
