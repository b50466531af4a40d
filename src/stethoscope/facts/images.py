"""What is known of a set of pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

PROPERTIES = (
    "brightness", "contrast", "sharpness", "entropy", "width", "height", "aspect", "red", "green", "blue", "saturation",
)  # fmt: skip
"""What is measured of each picture: brightness, contrast and colours of 0..1, sharpness the variance of the Laplacian
of the picture as 64 x 64 grays of 0..1, entropy in bits of 256 grays, width and height in pixels, aspect the larger by
the smaller side."""


def _no_values() -> Doubles:
    return np.zeros((0, len(PROPERTIES)))


@dataclass(frozen=True)
class ImageSet:
    """The pictures of a folder, one property of all of them in each column."""

    files: tuple[str, ...] = ()
    """Relative to the folder, those that could be read; their order is that of the rows below."""
    labels: tuple[str, ...] = ()
    """Name of the class, by folder or table; empty where there are none."""
    values: Doubles = field(default_factory=_no_values)
    """(pictures, PROPERTIES)."""
    modes: tuple[str, ...] = ()
    """Of each file, as stored: `RGB`, `L`, `CMYK`, ..."""
    gray: tuple[bool, ...] = ()
    """Whether all three channels are equal."""
    broken: tuple[tuple[str, str], ...] = ()
    """Files that could not be read, and why, as a clause."""
    same: tuple[tuple[int, ...], ...] = ()
    """Groups of files with the same pixels."""
    alike: tuple[tuple[int, ...], ...] = ()
    """Groups of files that look the same (perceptual hash), exact ones left out."""
    channel_means: tuple[float, ...] = ()
    channel_stds: tuple[float, ...] = ()
    """Over all pixels of all pictures, 0..1: for normalization."""
    skipped: int = 0
    """Files of other kinds."""
    thumbnails: tuple[tuple[int, str], ...] = ()
    """Some pictures as `data:` addresses (JPEG, at most 96 pixels), by row."""
    hashes: tuple[str, ...] = ()
    """Of the pixels, to compare with another set."""
    perceptual: tuple[int, ...] = ()
    """64-bit perceptual hash of each picture."""


@dataclass(frozen=True)
class SharedImages:
    """Pictures that are in both sets."""

    exact: tuple[tuple[int, int], ...] = ()
    near: tuple[tuple[int, int], ...] = ()
