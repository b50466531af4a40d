"""Wrong labels among pictures: simple models are asked for the class of pictures that they were not trained on.

They see where edges run and which colours are where, at the size of a stamp (N. Dalal, B. Triggs, "Histograms of
Oriented Gradients for Human Detection", CVPR 2005): enough to tell digits, faces and scenes, and too little for breeds
of dogs, of which nothing is said then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import LabelSuspects
from stethoscope.observe.data.label_errors import of_classes

SIDE = 32
"""Pixels of the gray picture whose edges are counted, on each side."""
CELLS = 4
"""Of edges and of colours, on each side."""
TURNS = 8
"""Directions of an edge that are told apart."""
FAINT = 1.0
"""Edge of 0..255 in each pixel that counts as none: flat pictures are not all edges."""
METHOD = "a forest, a linear model and nearest neighbours, told of edges and colours of the other pictures"

Bytes = NDArray[np.uint8]
_PLACES = np.arange(SIDE) // (SIDE // CELLS)
_CELL = (_PLACES[:, None] * CELLS + _PLACES[None, :]).ravel() * TURNS


def look_of(grays: NDArray[np.float64], colours: NDArray[np.float64]) -> Bytes:
    """What simple models are told of a picture, in a few bytes.

    Args:
        grays: (SIDE, SIDE), 0..255.
        colours: (CELLS, CELLS, 3), 0..255.
    """
    padded = np.pad(grays, 1, mode="edge")
    across, down = padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]
    steep = np.hypot(across, down).ravel()
    turn = (np.arctan2(down, across).ravel() % np.pi) * (TURNS / np.pi)
    first = turn.astype(np.int64)
    part = turn - first
    size = CELLS * CELLS * TURNS
    edges = np.bincount(_CELL + first % TURNS, steep * (1 - part), size)
    edges += np.bincount(_CELL + (first + 1) % TURNS, steep * part, size)
    shares = np.sqrt(edges / (edges.sum() + FAINT * grays.size))
    return np.concatenate([np.minimum(shares * 255, 255), colours.ravel()]).astype(np.uint8)


def picture_suspects(labels: Sequence[str], looks: Bytes) -> LabelSuspects:
    """Pictures whose class is contradicted by the others, by their place.

    Args:
        labels: (pictures,).
        looks: (pictures, n), as `look_of` gives them.
    """
    try:
        return of_classes(labels, looks.astype(np.float64) / 255, METHOD)
    except ImportError:
        return LabelSuspects("", "scikit-learn is not installed (pip install 'stethoscope[data]')")
