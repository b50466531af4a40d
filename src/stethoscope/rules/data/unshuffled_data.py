"""Batches that follow the order of the labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import ShuffleBatches
from stethoscope.facts.code import Code
from stethoscope.facts.data import Data
from stethoscope.facts.loops import loops_of
from stethoscope.facts.origins import thing_of
from stethoscope.facts.progress import progress_of
from stethoscope.facts.sample_order import ORDERS, has_its_own_order, takes_all
from stethoscope.facts.things import iterated, literal
from stethoscope.facts.training import Batches, Doubles, History, LossCall
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.order import (
    as_two_classes,
    mixing,
    mixing_of_numbers,
    one_way,
    repeats,
    resemblance,
    resemblance_of_numbers,
)
from stethoscope.rules.sites import code, place_at
from stethoscope.rules.tabular import order_of_rows, stored

REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


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


def _recurring(history: History, period: int, new: int = 0) -> History:
    """The same, where each batch comes again after so many; the last ones are new."""
    count = len(history.batches.steps)
    marks = np.where(np.arange(count) < count - new, np.arange(count) % period, np.arange(count))
    return replace(history, batches=replace(history.batches, fingerprints=marks))


def _numbers(
    means: Sequence[float] | Doubles, within: float, loss: Doubles | None = None, function: str = "mse_loss"
) -> History:
    """Two epochs of batches of 32 numbers with these means, and this variance inside of them."""
    both = np.tile(np.asarray(means, np.float64), 2)
    history = run(falling(1.0, 0.1) if loss is None else loss, chance=1.0)
    batches = Batches(
        steps=np.arange(both.size),
        sizes=np.full(both.size, 32),
        label_changes=np.zeros(both.size, np.int64),
        target_means=both,
        target_variances=np.full(both.size, within * 31 / 32),
    )
    entry = LossCall(function, None, 9, target_shape=(32, 1), chance=1.0)
    return _recurring(replace(history, losses=(entry,), batches=batches), len(means))


def _in_turn(batches: int, size: int, others: int) -> History:
    """One class a batch, in turn, with a few of the next one."""
    return _run([[i % 4] * (size - others) + [(i + 1) % 4] * others for i in range(batches)])


def _there_and_back(up: int, down: int) -> Doubles:
    """A wave that rises in so many steps, and falls in so many."""
    return np.concatenate([np.linspace(-1.7, 1.7, up + 1), np.linspace(1.7, -1.7, down + 1)[1:-1]])


_slope = np.linspace(-1.7, 1.7, 20)
_wave = 1.4 * np.sin(np.arange(24) * 0.27)


class UnshuffledData(Rule):
    """Batches follow the order of the labels.

    ## What it sees
    Two things together: batches hold fewer classes than a shuffle would put into them, and each batch
    resembles the one after it more than it resembles any other; or the very same batches of one class each come
    again and again. Of numbers: the targets of a batch are much closer to each other, and to those of the next batch,
    than to the others.
    ## Why it hurts
    The network sees one class for many steps, learns to answer it, and forgets the others; then comes the
    next class. The loss looks low within a class and jumps at each change, and batch normalization adapts
    to one class at a time.
    ## How to fix it
    `DataLoader(..., shuffle=True)`, or shuffle the rows once for each epoch.
    ## When it is not a fault
    Samplers that choose a few classes for each batch at random (episodes, metric learning), training on one
    batch again and again, or on all data at once. None of these is reported. Continual learning is meant to
    bring the classes one after the other. A series learned well in the order of time gets a note only.
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
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "loss-oscillating",
        "loss-spike",
        "no-gain-over-baseline",
        "loss-not-finite",
        "exploding-gradients",
        "momentum-too-high",
        "loss-unfit-for-task",
        "train-eval-mismatch",
        "batch-norm-statistics-unsettled",
        "distribution-shift",
    )
    reads = ("batches", "losses")
    treatments = (ShuffleBatches(),)

    mixing = Limit(0.5, unit="share of the label pairs of a shuffle", why="random samplers of a few classes mix more")
    resemblance = Limit(0.3, unit="0 for a shuffle, 1 for equal neighbours", why="chance reaches 0.1 in eight batches")
    one_class = Limit(
        0.1,
        unit="share of the label pairs of a shuffle",
        why="hardly more than one class a batch, in batches that recur",
    )
    repeated = Limit(0.9, unit="share of batches that recur", why="samplers and shuffles make new batches each time")
    numbers = Limit(
        0.3, unit="variance within batches / of all", why="sorted targets show 0.01, windows of a slow series up to 0.3"
    )
    one_way = Limit(
        0.8, unit="share of batches with a higher mean than the one before", why="0.9 when sorted, 0.5 for a wave"
    )
    fewest_neighbours = Limit(6, unit="pairs of consecutive batches", why="fewer pairs agree by chance")
    drifting = Limit(0.5, unit="rank correlation with the place of the row", why="a quarter of the spread is time's")
    labels_of_second_class = Limit(16, unit="labels", why="a class that was hardly seen says nothing about order")

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Count the stretches of equal labels along the rows as they are stored, and look for columns that drift."""
        yield from order_of_rows(self, seen, self.mixing, self.drifting)

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the class mix of batches, and of neighbours, with what a shuffle gives."""
        batches = seen.batches
        if batches.class_counts.size == 0:
            batches = as_two_classes(seen)
        if batches.class_counts.size == 0:
            yield from self._judge_numbers(seen)
            return
        totals = np.sort(batches.class_counts.sum(axis=0))
        neighbours = np.flatnonzero(np.diff(batches.steps) == 1)
        if len(totals) < 2 or totals[-2] < self.labels_of_second_class:
            yield self.cannot_tell("fewer than two classes were seen often enough")
        elif neighbours.size < self.fewest_neighbours:
            yield self.cannot_tell("too few consecutive batches were looked at")
        else:
            mixed, alike = mixing(batches), resemblance(batches)
            in_order = mixed <= self.mixing and alike >= self.resemblance
            one_each = mixed <= self.one_class and repeats(batches) >= self.repeated
            if in_order or one_each:
                yield self._report(seen, batches, mixed, alike)

    def _judge_numbers(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the spread of the targets within batches with that of all targets."""
        batches, loss = seen.batches, seen.main_loss()
        if loss is None or loss.computes not in REGRESSION or not np.isfinite(batches.target_variances).all():
            yield self.cannot_tell("targets are neither classes nor numbers of a regression, or were not seen")
            return
        if np.count_nonzero(np.diff(batches.steps) == 1) < self.fewest_neighbours:
            yield self.cannot_tell("too few consecutive batches were looked at")
            return
        mixed, alike = mixing_of_numbers(batches), resemblance_of_numbers(batches)
        if mixed <= self.numbers and alike >= self.resemblance and repeats(batches) > 0:
            is_sorted = one_way(batches) >= self.one_way
            yield self._report_numbers(seen, loss, mixed, alike, is_sorted)

    def _report_numbers(self, seen: History, loss: LossCall, mixed: float, alike: float, is_sorted: bool) -> Finding:
        batches, progress = seen.batches, progress_of(seen)
        harmless = progress.is_good and not is_sorted  # windows of a series in the order of time, often
        spread = float(np.sqrt(np.mean(batches.target_variances)))
        return self.finding(
            f"batches follow the order of the target: each spans {np.sqrt(mixed):.0%} of it",
            severity=Severity.NOTE if harmless else Severity.WARNING,
            place=place_at(loss.site, steps=(int(batches.steps[0]), int(batches.steps[-1]))),
            evidence=[
                Evidence(
                    "spread of the target in a batch / of all targets",
                    f"{spread:.3g} / {spread / np.sqrt(mixed):.3g}",
                    "1",
                    "after a shuffle",
                ),
                Evidence(
                    "resemblance of each batch's mean target to the next one's",
                    f"{alike:.2f}",
                    "0.00",
                    "1 for equal ones",
                ),
                *([loss_evidence(seen, progress)] if progress.known or progress.ended_nonfinite else []),
            ],
            cause=f"The samples arrive {'sorted by' if is_sorted else 'in an order that is mirrored in'} their target, "
            "the same in every epoch; so each step pulls all answers towards the few values of its batch.",
            fixes=["Shuffle the training data:\n" + code("DataLoader(dataset, batch_size=..., shuffle=True)")],
            unless="a state is carried from each batch to the next, which needs the order.",
        )

    def _report(self, seen: History, batches: Batches, mixed: float, alike: float) -> Finding:
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
                    f"{alike:.2f}",
                    "0.00",
                    "1 for equal ones",
                ),
            ],
            cause="The samples arrive sorted by label, or in long runs of one label, so each step pulls the "
            f"network towards a few classes: label pairs mix {mixed:.0%} as much as after a shuffle.",
            fixes=["Shuffle the training data:\n" + code("DataLoader(dataset, batch_size=..., shuffle=True)")],
            unless="the classes are meant to arrive one after the other, as in continual learning.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for loaders that a training loop goes over, and that are not told to shuffle."""
        told = set()
        for loop in loops_of(file):
            if not loop.of("step"):
                continue
            source, _ = iterated(file, file.contexts[loop.context].value)
            loader = thing_of(file, source)
            made, home = loader.made, loader.made_in
            if loader.kind != "loader" or made is None or home is not file or made.number in told or made.is_open:
                continue
            if any(made.keyword(name) is not None for name in ORDERS) or len(made.arguments) > 2:
                continue
            if literal(file, made.keyword("shuffle")) not in (None, False) or takes_all(file, made):
                continue
            if has_its_own_order(file, made.argument(0)):
                continue
            told.add(made.number)
            yield self.finding(
                "training goes over its data in the same order each time",
                sureness=Sureness.POSSIBLE,
                place=place_in(file, made.at),
                evidence=[
                    Evidence(
                        f"orders of the batches that the loop on {line_of(file, loop.at)} sees",
                        1,
                        "another in each epoch",
                        "the default of `shuffle` is False",
                    )
                ],
                cause="Batches of one epoch are those of the next: where neighbours in the data are alike, each batch "
                "pulls its own way.",
                fixes=["Shuffle the training data:\n" + code("DataLoader(train_data, batch_size=..., shuffle=True)")],
                unless="the data set is shuffled when it is made, or its order matters.",
            )

    bad = Examples(
        lambda: {
            "a sorted file": stored(3),
            "a column that drifts": stored(98, 0.51),
            "sorted by label": _run(_sorted(30, 32, 10)),
            "two classes, one after the other": _run(_sorted(12, 32, 2)),
            "yes and no as numbers, one after the other": _answers(_sorted(12, 32, 2)),
            "numbers in ascending order": _numbers(_slope, 0.01),
            "numbers in ascending order, just mixed little enough": _numbers(_slope, 0.44),
            "a slow wave, and nothing learned": _numbers(_wave, 0.05, loss=flat(0.98)),
            "a slow wave, learned": _numbers(_wave, 0.05),
            "one class a batch, the same ones each time": _recurring(_in_turn(40, 32, 0), 4),
            "nine tenths of the batches come again": _recurring(_in_turn(44, 32, 0), 4, new=4),
            "hardly more than one class a batch": _recurring(_in_turn(40, 54, 2), 4),
            "a wave that mostly rises": _numbers(_there_and_back(11, 3), 0.05),
            "a wave that rises a little less": _numbers(_there_and_back(13, 4), 0.05),
            "as few neighbours as can tell": _run(_sorted(7, 16, 3)),
            "as few labels as can tell": _run([[0] * 8] * 8 + [[1] * 8] * 2),
            "three quarters of each batch in order": _mixed(40, 40, 8, 29),
            "one class a batch, mostly held for two": _in_pairs(40, 17),
        }
    )
    good = Examples(
        lambda: {
            "a shuffled file": stored(98, 0.49),
            "shuffled": _run((np.arange(960) * 7919 % 961 % 10).reshape(30, 32)),
            "in turn": _run((np.arange(960) % 10).reshape(30, 32)),
            "numbers in ascending order, mixed a little more": _numbers(_slope, 0.46),
            "numbers in ascending order, of no regression": _numbers(_slope, 0.01, function="backward"),
            "a little less than nine tenths of the batches come again": _recurring(_in_turn(42, 32, 0), 4, new=5),
            "a little more than one class a batch": _recurring(_in_turn(40, 52, 2), 4),
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
    bad_code = {
        "rows of a data set": """
            class Rows(torch.utils.data.Dataset):
                def __init__(self, rows):
                    self.rows = rows

                def __getitem__(self, index):
                    return self.rows[index][0], self.rows[index][1]

            def train(model, optimizer, rows):
                loader = DataLoader(Rows(rows), batch_size=64)  # bad
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "not told": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            train = DataLoader(torch.load("data"), batch_size=64)  # bad
            for epoch in range(3):
                for i, (x, y) in enumerate(train):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
    }
    good_code = {
        "gradients that are only summed": """
            def importances(model, data):
                for x, y in DataLoader(data, batch_size=64):
                    model.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    for p in model.parameters():
                        p.importance += p.grad ** 2
            """,
        "all rows in one batch": """
            def train(model, optimizer, data, x):
                for x, y in DataLoader(data, batch_size=len(x)):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "shuffled, and a test set in order": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            train = DataLoader(torch.load("data"), batch_size=64, shuffle=True)
            test = DataLoader(torch.load("test"), batch_size=64)
            for x, y in train:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                print([model(x) for x, y in test])
            """,
        "a sampler": """
            def train(model, optimizer, data, sampler):
                for x, y in DataLoader(data, batch_size=64, sampler=sampler):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "samples that are drawn, whatever the index": """
            class Pieces(torch.utils.data.Dataset):
                def __getitem__(self, index):
                    return torch.randn(3), 1

            def train(model, optimizer):
                for x, y in DataLoader(Pieces(), batch_size=64, shuffle=False):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "a stream": """
            class Stream(torch.utils.data.IterableDataset):
                def __iter__(self):
                    yield 1

            def train(model, optimizer):
                for x, y in DataLoader(Stream(), batch_size=64):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
    }
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


def _label_runs(batches: Batches, shares: Doubles) -> list[Evidence]:
    """How often the label changes from one sample to the next; nothing when no change was seen or counted."""
    changes = int(batches.label_changes.sum())
    pairs = int(np.maximum(batches.class_counts.sum(axis=1) - 1, 0).sum())
    if not changes or not pairs:
        return []
    expected = 1 - float(np.sum(shares**2))
    what = "neighbours in a batch whose labels differ"
    return [Evidence(what, f"{changes / pairs:.0%}", f"{expected:.0%}", "after a shuffle")]
