"""Folders of real pictures, made of what scikit-learn brings: crops of two photos, and handwritten digits."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

PHOTOS = ("china", "flower")


def crops(root: Path, count: int = 120, seed: int = 0, size: int = 64, part: tuple[float, float] = (0.0, 1.0)) -> Path:
    """Square pieces of two photos, or of a part of their width, as JPEG; each photo is a class."""
    rng = np.random.default_rng(seed)
    photos = load_sample_images().images
    for place in range(count):
        photo = photos[place % 2]
        side = int(rng.integers(size, 3 * size))
        y = int(rng.integers(0, photo.shape[0] - side))
        x = int(rng.integers(int(photo.shape[1] * part[0]), max(1, int(photo.shape[1] * part[1]) - side)))
        folder = root / PHOTOS[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        piece = Image.fromarray(photo[y : y + side, x : x + side]).resize((size, size))
        piece.save(folder / f"{place:04d}.jpg", quality=90)
    return root


def crops_apart(train: Path, test: Path, seed: int = 0, side: int = 32) -> tuple[Path, Path]:
    """Tiles of two photos that do not overlap, dealt to two sets at random; those of plain sky left out."""
    rng = np.random.default_rng(seed)
    for photo, name in zip(load_sample_images().images, PHOTOS, strict=True):
        corners = [(y, x) for y in range(0, photo.shape[0] - side, side) for x in range(0, photo.shape[1] - side, side)]
        for place, corner in enumerate(rng.permutation(corners).tolist()):
            folder = (train, test)[place % 2] / name
            folder.mkdir(parents=True, exist_ok=True)
            y, x = corner
            piece = photo[y : y + side, x : x + side]
            if piece.mean(2).std() < 4:  # sky
                continue
            tile = Image.fromarray(piece)
            tile.resize((64, 64)).save(folder / f"{place:04d}.jpg", quality=90)
    return train, test


def digits(root: Path, start: int, stop: int, seed: int = 0) -> Path:
    """Handwritten digits as gray PNG of 32 pixels, in folders by digit; shuffled before they are cut."""
    data = load_digits()
    for place in np.random.default_rng(seed).permutation(len(data.target))[start:stop]:
        folder = root / str(data.target[place])
        folder.mkdir(parents=True, exist_ok=True)
        gray = Image.fromarray((data.images[place] * 15.9).astype(np.uint8))
        gray.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{place:04d}.png")
    return root


def photo_of(root: Path, place: int) -> Image.Image:
    """One of the crops."""
    return Image.open(root / PHOTOS[place % 2] / f"{place:04d}.jpg").convert("RGB")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says to be of this size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )
