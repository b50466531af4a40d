"""How sharp a picture is, above all by what it loses from one size of details to the next finer one.

In photos, drawings and textures alike the details of half the size weigh about as much as the next coarser ones (D.
Field, "Relations between the statistics of natural images and the response properties of cortical cells", 1987), and an
edge has all of them. A blur takes the finest away, whatever the picture shows and however much contrast it has: the
Laplacian's variance falls to a tenth from one octave to the next. So `focus` asks for no smoothness of the whole
picture, which clouds, drawings and renderings have by nature.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OCTAVES = 4
"""Sizes of details that are looked at: 1, 2, 4 and 8 pixels."""
SMALLEST = 8
"""Pixels of a side that a halved picture needs to be looked at."""
ROUNDED = 20 / 12
"""Variance of the Laplacian of grays of 0..255 that comes from their being whole numbers: the squares of its five
weights, times the twelfth that rounding gives each. Halved pictures have a quarter of it."""
CLEAR = 10.0
"""Times the rounding of the finer one, from which on a size of details is seen: below, blurred and sharp are alike."""

Grays = NDArray[np.float32]


def sharpness_and_focus(grays: Grays) -> tuple[float, float]:
    """How sharp a picture is beside its own contrast, and by what is left of its finest details.

    Sharpness is the variance of the Laplacian over that of the grays: near 0 where neighbours hardly differ. Focus is
    that variance over the one of the same picture at half the size, the least of three octaves: 0.18 to 1.5 in pictures
    that are sharp; a Gaussian blur of a pixel leaves 0.11 to 0.17, and of more below 0.12. 1 where the picture is too
    small, or shows hardly anything.

    Args:
        grays: (height, width), 0..1.
    """
    if min(grays.shape) < 3:
        return 0.0, 1.0
    first, spread = _of_laplacian(grays), float(grays.var())
    variances = [max(0.0, first - ROUNDED / 255**2)]
    ratios: list[float] = []
    halved, rounded = grays, ROUNDED / 255**2
    while len(variances) < OCTAVES and min(halved.shape) >= 2 * SMALLEST:
        halved, rounded = _halved(halved), rounded / 4
        variances.append(max(0.0, _of_laplacian(halved) - rounded))
        if variances[-1] >= CLEAR * 4 * rounded:
            ratios.append(variances[-2] / variances[-1])
    return first / spread if spread > 1e-6 else 0.0, min(ratios, default=1.0)


def _of_laplacian(grays: Grays) -> float:
    inner = grays[1:-1, 1:-1]
    around = grays[:-2, 1:-1] + grays[2:, 1:-1] + grays[1:-1, :-2] + grays[1:-1, 2:]
    return float((around - 4 * inner).var())


def _halved(grays: Grays) -> Grays:
    height, width = (side // 2 * 2 for side in grays.shape)
    whole = grays[:height:2, :width:2] + grays[1:height:2, :width:2]
    whole += grays[:height:2, 1:width:2]
    whole += grays[1:height:2, 1:width:2]
    return np.asarray(whole / 4, np.float32)
