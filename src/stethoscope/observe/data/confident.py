"""Confident learning: which labels out-of-sample probabilities contradict, and how many labels are wrong.

C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

ABOUT = 1e-6
"""Probabilities nearer to each other than this are taken for equal."""


def joint_counts(labels: Ints, probabilities: Doubles) -> Ints:
    """Given label by true label: how many rows of each kind there are, by estimate.

    A row is counted under the label that it is *confidently* of: one whose probability reaches what is usual among the
    rows that were given it. Rows of no such label are left out, and the rest is scaled up to the labels' counts.

    Args:
        labels: (n,) of whole numbers from 0.
        probabilities: (n, classes), each row summing to 1, from models that did not see the row.
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = np.bincount(labels, probabilities[np.arange(labels.size), labels], minlength=classes)
    usual = np.where(counts > 0, own / np.maximum(counts, 1), 2.0)
    confident = probabilities >= usual - ABOUT
    among = confident.any(1)
    single = confident.sum(1) == 1
    # Where several are reached, the likeliest of all: as the authors' own program does, not their paper.
    true = np.where(single, confident.argmax(1), probabilities.argmax(1))
    table = np.zeros((classes, classes))
    np.add.at(table, (labels[among], true[among]), 1)
    np.fill_diagonal(table, np.maximum(table.diagonal(), 1))
    table *= (counts / np.maximum(table.sum(1), 1))[:, None]
    return np.array([_rounded(row) for row in table], np.int64).reshape(classes, classes)


def _rounded(row: Doubles) -> Ints:
    """Whole numbers with the same sum: each the nearest, and those that are off the most moved by one."""
    whole = np.round(row).astype(np.int64)
    short = round(float(row.sum())) - int(whole.sum())
    order = np.argsort(row - whole, kind="stable")
    whole[order[::-1][:short] if short > 0 else order[:-short]] += np.sign(short)
    return whole


def contradicted(labels: Ints, probabilities: Doubles) -> Ints:
    """Rows whose label is probably wrong, the most suspicious first ("prune by noise rate", ranked by self-confidence).

    Of the rows given label i, as many as the joint counts say are of label j are taken where j beats i most.

    Args:
        labels: (n,) of whole numbers from 0.
        probabilities: (n, classes).
    """
    counts = joint_counts(labels, probabilities)
    found = np.zeros(labels.size, bool)
    for given in range(probabilities.shape[1]):
        rows = np.flatnonzero(labels == given)
        if rows.size <= 1:
            continue
        for true in range(probabilities.shape[1]):
            many = int(counts[given, true])
            if given != true and many > 0:
                lead = probabilities[rows, true] - probabilities[rows, given]
                found[rows[np.argsort(-lead, kind="stable")[:many]]] = True
    own = probabilities[np.arange(labels.size), labels]
    found &= own + ABOUT < probabilities.max(1)
    rows = np.flatnonzero(found)
    return rows[np.argsort(own[rows], kind="stable")].astype(np.int64)


def noise_rate(labels: Ints, probabilities: Doubles) -> float:
    """Estimated share of wrong labels."""
    counts = joint_counts(labels, probabilities)
    return float(1 - counts.trace() / max(1, counts.sum()))
