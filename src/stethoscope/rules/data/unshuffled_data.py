"""Batches that follow the order of the labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import ShuffleBatches
from stethoscope.facts.training import Batches, Doubles, History, LossCall
from stethoscope.rules.sites import code, place_at


def _run(labels: Sequence[Sequence[int]] | np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> History:
    """Consecutive batches, each a row of labels."""
    rows = [np.asarray(row, np.int64) for row in labels]
    classes = int(max(row.max() for row in rows)) + 1
    return History(
        steps=len(rows),
        batches=Batches(
            steps=np.arange(len(rows)),
            sizes=np.array([row.size for row in rows]),
            class_counts=np.stack([np.bincount(row, minlength=classes) for row in rows]),
            label_changes=np.array([np.count_nonzero(np.diff(row)) for row in rows]),
        ),
    )


def _sorted(batches: int, size: int, classes: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.sort(np.arange(batches * size) % classes).reshape(batches, size)


def _mixed(batches: int, size: int, classes: int, runs: int) -> History:
    """Batch b holds `runs` of its labels from the class that is due by order, the others from all in turn."""
    due = _sorted(batches, size, classes)
    due[:, runs:] = np.arange(batches * (size - runs)).reshape(batches, -1) % classes
    return _run(due)


def _answers(labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]], answers_each: int = 1) -> History:
    """Consecutive batches of targets that are 0 or 1, as a binary loss takes them."""
    means = labels.mean(axis=1).astype(np.float64)
    batches = Batches(
        steps=np.arange(len(labels)),
        sizes=np.full(len(labels), labels.shape[1]),
        label_changes=np.zeros(len(labels), np.int64),
        target_means=means,
        target_variances=means * (1 - means),
    )
    shape = (labels.shape[1], answers_each)
    loss = LossCall("binary_cross_entropy", None, 9, target_shape=shape, target_min=0.0, target_max=1.0)
    return History(steps=len(labels), batches=batches, losses=(loss,))


def _in_pairs(batches: int, pairs: int) -> History:
    """One class a batch, in turn; the first `pairs` times a class is held for two batches."""
    classes = [(i // 2 if i < 2 * pairs else i) % 5 for i in range(batches)]
    return _run([[label] * 16 for label in classes])


class UnshuffledData(Rule):
    """Batches follow the order of the labels.

    ## What it sees
    Two things together: batches hold fewer classes than a shuffle would put into them, and each batch
    resembles the one after it more than it resembles any other.
    ## Why it hurts
    The network sees one class for many steps, learns to answer it, and forgets the others; then comes the
    next class. The loss looks low within a class and jumps at each change, and batch normalization adapts
    to one class at a time.
    ## How to fix it
    `DataLoader(..., shuffle=True)`, or shuffle the rows once for each epoch.
    ## When it is not a fault
    Samplers that choose a few classes for each batch at random (episodes, metric learning), training on one
    batch again and again, or on all data at once. None of these is reported. Continual learning is meant to
    bring the classes one after the other.
    ## Sources
    Bengio 2012, "Practical recommendations for gradient-based training of deep architectures", section 3:
    examples in an order that is not random slow convergence. McCloskey and Cohen 1989, "Catastrophic
    Interference in Connectionist Networks".
    """

    severity = Severity.WARNING
    explains = (
        "collapsed-predictions",
        "learning-rate-too-high",
        "learning-rate-too-low",
        "overfitting",
        "loss-not-decreasing",
        "loss-oscillating",
        "loss-spike",
        "no-gain-over-baseline",
    )
    reads = ("batches", "losses")
    treatments = (ShuffleBatches(),)

    mixing = Limit(0.5, unit="share of the label pairs of a shuffle", why="random samplers of a few classes mix more")
    resemblance = Limit(0.3, unit="0 for a shuffle, 1 for equal neighbours", why="chance reaches 0.1 in eight batches")
    fewest_neighbours = Limit(6, unit="pairs of consecutive batches", why="fewer pairs agree by chance")
    labels_of_second_class = Limit(16, unit="labels", why="a class that was hardly seen says nothing about order")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the class mix of batches, and of neighbours, with what a shuffle gives."""
        batches = seen.batches
        if batches.class_counts.size == 0:
            batches = _as_two_classes(seen)
        if batches.class_counts.size == 0:
            yield self.cannot_tell("targets are not classes, or were not seen")
            return
        totals = np.sort(batches.class_counts.sum(axis=0))
        neighbours = np.flatnonzero(np.diff(batches.steps) == 1)
        if len(totals) < 2 or totals[-2] < self.labels_of_second_class:
            yield self.cannot_tell("fewer than two classes were seen often enough")
        elif neighbours.size < self.fewest_neighbours:
            yield self.cannot_tell("too few consecutive batches were looked at")
        else:
            mixing, resemblance = _mixing(batches), _resemblance(batches)
            if mixing <= self.mixing and resemblance >= self.resemblance:
                yield self._report(seen, batches, mixing, resemblance)

    def _report(self, seen: History, batches: Batches, mixing: float, resemblance: float) -> Finding:
        counts = batches.class_counts
        classes = int(np.count_nonzero(counts.sum(axis=0)))
        inside = float(np.mean(np.count_nonzero(counts, axis=1)))
        shares = counts.sum(axis=0) / counts.sum()
        sizes = counts.sum(axis=1, keepdims=True)
        expected = float(np.mean(np.sum(1 - (1 - shares) ** sizes, axis=1)))
        loss = seen.main_loss()
        steps = batches.steps
        return self.finding(
            f"batches follow the labels: {inside:.1f} of {classes} classes in each",
            place=place_at(loss.site if loss else None, steps=(int(steps[0]), int(steps[-1]))),
            evidence=[
                *_label_runs(batches, shares),
                Evidence("classes in a batch, on average", f"{inside:.1f}", f"{expected:.1f}", "after a shuffle"),
                Evidence(
                    "resemblance of each batch to the next one",
                    f"{resemblance:.2f}",
                    "0.00",
                    "1 for equal ones",
                ),
            ],
            cause="The samples arrive sorted by label, or in long runs of one label, so each step pulls the "
            f"network towards a few classes: label pairs mix {mixing:.0%} as much as after a shuffle.",
            fixes=["Shuffle the training data:\n" + code("DataLoader(dataset, batch_size=..., shuffle=True)")],
            unless="the classes are meant to arrive one after the other, as in continual learning.",
        )

    bad = Examples(
        lambda: {
            "sorted by label": _run(_sorted(30, 32, 10)),
            "two classes, one after the other": _run(_sorted(12, 32, 2)),
            "yes and no as numbers, one after the other": _answers(_sorted(12, 32, 2)),
            "as few neighbours as can tell": _run(_sorted(7, 16, 3)),
            "as few labels as can tell": _run([[0] * 8] * 8 + [[1] * 8] * 2),
            "three quarters of each batch in order": _mixed(40, 40, 8, 29),
            "one class a batch, mostly held for two": _in_pairs(40, 17),
        }
    )
    good = Examples(
        lambda: {
            "shuffled": _run((np.arange(960) * 7919 % 961 % 10).reshape(30, 32)),
            "in turn": _run((np.arange(960) % 10).reshape(30, 32)),
            "one class a batch, in turn": _run([[i * 3 % 8] * 16 for i in range(40)]),
            "one class a batch, held for two a little less often": _in_pairs(60, 25),
            "seven tenths of each batch in order": _mixed(40, 40, 8, 28),
            "five classes a batch, episodes": _run(
                [[(i * 37 + k * (i % 7 + 1)) % 20 for k in range(5) for _ in range(6)] for i in range(40)]
            ),
            "yes and no as numbers, in turn": _answers(np.arange(384).reshape(12, 32) % 2),
            "several answers for each sample": _answers(_sorted(12, 32, 2), answers_each=3),
            "sorted within the batch": _run(np.sort((np.arange(960) % 10).reshape(30, 32), axis=1)),
            "the same batch again and again": _run([[0, 0, 0, 1, 1, 2, 2, 2]] * 30),
            "one class so far": _run([[0] * 32] * 30),
            "five neighbours": _run(_sorted(6, 16, 2)),
            "a second class hardly seen": _run([[0] * 5] * 8 + [[1] * 5] * 3),
        }
    )
    bug = Bug("""
        import numpy as np
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        order = np.argsort(data.target, kind="stable")
        images = torch.tensor(data.data[order], dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        labels = torch.tensor(data.target[order])
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=32,
            # add: shuffle=True,
        )
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(5):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _as_two_classes(seen: History) -> Batches:
    """The batches with targets of 0 and 1, one for each sample, counted as classes; as they are for others."""
    batches, loss = seen.batches, seen.main_loss()
    if loss is None or not loss.target_shape or (loss.target_min, loss.target_max) != (0.0, 1.0):
        return batches
    means = batches.target_means
    only_two = np.allclose(batches.target_variances, means * (1 - means), atol=1e-6)
    if math.prod(loss.target_shape) != loss.target_shape[0] or not only_two:
        return batches
    ones = np.rint(means * batches.sizes).astype(np.int64)
    return replace(batches, class_counts=np.stack([batches.sizes - ones, ones], axis=1))


def _label_runs(batches: Batches, shares: Doubles) -> list[Evidence]:
    """How often the label changes from one sample to the next; nothing when no change was seen or counted."""
    changes = int(batches.label_changes.sum())
    pairs = int(np.maximum(batches.class_counts.sum(axis=1) - 1, 0).sum())
    if not changes or not pairs:
        return []
    expected = 1 - float(np.sum(shares**2))
    what = "neighbours in a batch whose labels differ"
    return [Evidence(what, f"{changes / pairs:.0%}", f"{expected:.0%}", "after a shuffle")]


def _mixing(batches: Batches) -> float:
    """Chance that two labels of one batch differ, over that of any two labels; 1 after a shuffle."""
    counts = batches.class_counts.astype(np.float64)
    sizes = counts.sum(axis=1)
    pairs = float(np.sum(sizes * (sizes - 1)))
    total = float(sizes.sum())
    if pairs == 0:
        return 1.0
    inside = 1 - float(np.sum(counts * (counts - 1))) / pairs
    of_class = counts.sum(axis=0)
    overall = 1 - float(np.sum(of_class * (of_class - 1))) / (total * (total - 1))
    return inside / overall


def _resemblance(batches: Batches) -> float:
    """How much more a batch's mix overlaps with the next one's than with any other's; 0 after a shuffle."""
    counts = batches.class_counts.astype(np.float64)
    mixes: Doubles = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    near = np.flatnonzero(np.diff(batches.steps) == 1)
    next_to = float(np.minimum(mixes[near], mixes[near + 1]).sum(axis=1).mean())
    chosen = mixes[np.linspace(0, len(mixes) - 1, min(len(mixes), 100)).astype(int)]
    every = np.minimum(chosen[:, None], chosen[None]).sum(axis=2)
    any_two = float(every[np.triu_indices(len(chosen), 1)].mean())
    return (next_to - any_two) / (1 - any_two) if any_two < 1 else 0.0
