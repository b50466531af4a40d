"""How a network learned each row: which it learned late, forgot, or never believed. From outputs the user recorded.

G. Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020.
S. Swayamdipta et al., "Dataset Cartography", EMNLP 2020.
M. Toneva et al., "An Empirical Study of Example Forgetting", ICLR 2019.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Dynamics

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST = 1e-30
"""Probability that a smaller one counts as, where logarithms are taken."""
FEWEST_EPOCHS = 10
"""In fewer a network has not learned enough to contradict a label: of clean wine, 6 % of the surest rows after 8 epochs
of 6 steps each."""
EARLY = 20
"""Epochs until which wrong labels are not yet known by heart: with 5 % wrong digits, 4 % of the surest rows are
contradicted by the mean of 10 epochs, and 1 % by that of 30."""


def log_probabilities(outputs: Doubles) -> Doubles:
    """(..., classes): logarithms of probabilities, from logits, or from probabilities that sum to 1."""
    if outputs.min() >= 0 and np.allclose(outputs.sum(-1), 1, atol=1e-3):
        return np.log(np.maximum(outputs, LEAST))
    above = outputs - outputs.max(-1, keepdims=True)
    return np.asarray(above - np.log(np.exp(above).sum(-1, keepdims=True)), np.float64)


def early_probabilities(outputs: Doubles) -> Doubles:
    """(rows, classes): the mean of early epochs, the very first left out: before labels are known by heart.

    Args:
        outputs: (epochs, rows, classes), logits or probabilities.
    """
    return np.asarray(np.exp(log_probabilities(outputs[len(outputs) // 10 : EARLY])).mean(0), np.float64)


def dynamics(outputs: Doubles, labels: Ints, index: Ints) -> Dynamics:
    """The history of each row.

    Args:
        outputs: (epochs, rows, classes), logits or probabilities, of rows while they were trained on.
        labels: (rows,) as given, of whole numbers from 0.
        index: (rows,) their places in the set.
    """
    logs = log_probabilities(outputs)
    own = np.take_along_axis(logs, labels[None, :, None], 2)[:, :, 0]
    others = logs.copy()
    np.put_along_axis(others, np.broadcast_to(labels[None, :, None], (*logs.shape[:2], 1)), -np.inf, 2)
    margins = own - others.max(2)
    probabilities = np.exp(own)
    right = margins > 0
    lost = (right[:-1] & ~right[1:]).sum(0)
    return Dynamics(
        epochs=len(outputs),
        index=index,
        margin=margins.mean(0),
        confidence=probabilities.mean(0),
        variability=probabilities.std(0),
        forgotten=np.where(right.any(0), lost, -1).astype(np.int64),
    )
