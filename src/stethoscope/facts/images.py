"""What is known of a set of pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

PROPERTIES = (
    "brightness", "contrast", "sharpness", "entropy", "width", "height", "aspect", "red", "green", "blue", "saturation",
    "focus", "shadows", "highlights",
)  # fmt: skip
"""What is measured of each picture: brightness, contrast and colours of 0..1, sharpness the variance of the Laplacian
over that of the grays (0 where all are equal), entropy in bits of 256 grays, width and height in pixels, aspect the
larger by the smaller side, saturation the distance of the largest from the smallest channel over the largest, focus
what the finest details weigh beside those of twice the size (below 0.17 where a blur took them; 1 where nothing is
known), shadows and highlights the grays of 0..1 that 1 % of the pixels are darker or lighter than."""


def _no_values() -> Doubles:
    return np.zeros((0, len(PROPERTIES)))


@dataclass(frozen=True)
class ImageSet:
    """The pictures of a folder, one property of all of them in each column."""

    files: tuple[str, ...] = ()
    """Relative to the folder, those that could be read; their order is that of the rows below."""
    index: tuple[int, ...] = ()
    """Row of each picture in its set, of a table that lists them; empty where it is the place among `files`."""
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
    mislabelled: tuple[tuple[int, str], ...] = ()
    """Pictures whose name ends in another format than theirs: the picture, and what it is."""
    turned: tuple[int, ...] = ()
    """Pictures that their EXIF tag says to turn or to mirror before they are shown."""
    hidden: tuple[int, ...] = ()
    """Pictures that are of one colour when their transparency is dropped, and are not otherwise."""
    animated: tuple[int, ...] = ()
    """Files with several pictures; the first one was looked at."""
    same: tuple[tuple[int, ...], ...] = ()
    """Groups of files with the same pixels."""
    alike: tuple[tuple[int, ...], ...] = ()
    """Groups of files that look the same (perceptual hash), exact ones left out."""
    channel_means: tuple[float, ...] = ()
    channel_stds: tuple[float, ...] = ()
    """Over all pixels of all pictures, 0..1: for normalization. Each picture counts alike, whatever its size. Empty for
    arrays that were standardized before."""
    white: float = 0.0
    """Largest value of an array of pictures, as rounded up to 1, 255 or 65,535; 0 of files."""
    skipped: int = 0
    """Files of other kinds."""
    left: int = 0
    """Pictures that were not looked at, where there are too many: those that were are drawn at random."""
    thumbnails: tuple[tuple[int, str], ...] = ()
    """Some pictures as `data:` addresses (JPEG, at most 96 pixels), by their place among `files`."""
    hashes: tuple[str, ...] = ()
    """Of the pixels, to compare with another set."""
    perceptual: tuple[int, ...] = ()
    """64-bit perceptual hash of each picture."""
    telling: tuple[tuple[str, float, float, int], ...] = ()
    """How well each property alone tells the class: property, share of guessing's errors that it puts right, lower end
    of its 95 % interval, pictures held out; strongest first."""

    @property
    def total(self) -> int:
        """All pictures of the set, looked at, broken or left."""
        return len(self.files) + len(self.broken) + self.left

    def row(self, place: int) -> int:
        """The row of a picture in its set."""
        return self.index[place] if self.index else place

    def of(self, name: str) -> Doubles:
        """One property of all pictures. Shape: (pictures,)."""
        return self.values[:, PROPERTIES.index(name)]


@dataclass(frozen=True)
class SharedImages:
    """Pictures that are in both sets: picture of the first, picture of the second set."""

    exact: tuple[tuple[int, int], ...] = ()
    near: tuple[tuple[int, int], ...] = ()
    """One pair for each picture of the second set; exact ones left out."""
