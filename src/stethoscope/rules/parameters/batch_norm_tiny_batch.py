"""Batch normalization whose statistics come from two or three values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Code
from stethoscope.facts.loaded import fed_by_loaders, is_dense_with_norm
from stethoscope.facts.norms import BatchNorm
from stethoscope.facts.progress import progress_of
from stethoscope.facts.things import literal
from stethoscope.facts.training import History, Layer
from stethoscope.rules.examples import checked, falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome
from stethoscope.rules.lines import fitting, line_of, place_in, way_to
from stethoscope.rules.sites import code, place_at


def _run(loss: ArrayLike, *rows: int, looks: int = 6) -> History:
    """A classifier with a batch normalization layer for each number of rows; the last batch of an epoch is smaller."""
    seen = run(loss)
    names = tuple(Layer(f"norm{i}", "BatchNorm1d", order=2 * i + 1) for i in range(len(rows)))
    norms = tuple(
        BatchNorm(
            len(seen.layers) + i,
            0.1,
            True,
            np.arange(looks) * 20,
            np.array([*[count] * (looks - 1), max(2, count // 2)]),
            np.zeros(looks),
            drift=0.2,
        )
        for i, count in enumerate(rows)
    )
    return replace(seen, layers=(*seen.layers, *names), norms=norms)


class BatchNormTinyBatch(Rule):
    """Batch normalization takes its statistics from so few values that they are noise.

    ## What it sees
    How many values each channel's mean and variance came from in training: samples of the batch times positions of
    the output, as the median over the looks.
    In code: the batch size of a loader that a network of dense layers with batch normalization is trained from.
    ## Why it hurts
    Of two values, one becomes +1 and the other -1, whatever they were: all but the order is lost. With four, the
    statistics change from batch to batch by half of their size, and evaluation, which uses running statistics, sees
    another network than training did.
    ## How to fix it
    Larger batches; or a normalization that does not look at the batch: `GroupNorm`, `LayerNorm`. Accumulating
    gradients over several small batches does not help: each is still normalized alone.
    ## When it is not a fault
    Convolutions have many positions: a batch of one image of 32 x 32 gives 1,024 values. A run that learns well with
    it gets a note.
    ## Sources
    Y. Wu and K. He, "Group Normalization", ECCV 2018 (error of batch normalization by batch size, from 16 down to 2).
    """

    on_trial = True
    severity = Severity.WARNING
    explains = (
        "batch-norm-statistics-unsettled",
        "learning-rate-too-high",
        "train-eval-mismatch",
        "loss-oscillating",
        "no-gain-over-baseline",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
    )
    reads = ("losses", "activations")

    few = Limit(4, unit="values for each channel", why="on digits 2 lose 37 points of accuracy, 4 lose 6, 16 none")
    nothing_left = Limit(
        2, unit="values for each channel", why="of two values one becomes 1 and the other -1, whatever they were"
    )
    fewest_looks = Limit(3, unit="looks", why="the last batch of an epoch may be small")
    layers = Limit(0.5, unit="share of the batch normalization layers", why="one small branch of many does little")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the median count of each layer."""
        norms = [n for n in seen.norms if n.rows.size >= self.fewest_looks]
        progress = progress_of(seen)
        if not norms or not progress.known:
            yield self.cannot_tell("no batch normalization was seen in train mode often enough")
            return
        tiny = [n for n in norms if np.median(n.rows) <= self.few]
        if tiny and len(tiny) >= self.layers * len(norms) and not progress.ended_nonfinite:
            yield self._report(seen, norms, tiny)

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the first batches, where they are so small that normalization leaves nothing of them."""
        norms = [n for n in seen.norms if n.rows.size]
        if not norms:
            yield self.cannot_tell("no batch normalization was seen in train mode")
            return
        tiny = [n for n in norms if np.median(n.rows) <= self.nothing_left]
        if tiny and len(tiny) >= self.layers * len(norms) and not progress_of(seen).known:
            yield self._report(seen, norms, tiny)

    def _report(self, seen: History, norms: list[BatchNorm], tiny: list[BatchNorm]) -> Finding:
        progress = progress_of(seen)
        worst = min(tiny, key=lambda n: float(np.median(n.rows)))
        layer = seen.layers[worst.layer]
        rows = int(np.median(worst.rows))
        severity = Severity.WARNING
        if progress.is_stuck:
            severity = Severity.ERROR
        elif progress.learns_well:
            severity = Severity.NOTE
        state = (
            "the network learns in spite of it"
            if progress.learns_well
            else (f"the loss {outcome(progress)}" if progress.known else "nothing else reaches the next layer")
        )
        why = (
            "Of two values one becomes 1 and the other -1, whatever they were"
            if rows <= 2
            else "Mean and variance of so few values change from batch to batch by about half of their size"
        )
        return self.finding(
            f"{len(tiny)} batch normalizations take statistics from {rows} values each"
            if len(tiny) > 1
            else f"`{layer.name}` takes batch statistics from {rows} values"[:72],
            severity=severity,
            place=place_at(None, steps=(int(worst.steps[0]), max(seen.steps - 1, 0)), module=layer.name),
            evidence=[
                Evidence(
                    f"values behind each mean and variance of `{layer.name}`",
                    rows,
                    "16 and more",
                    "samples x positions, median over the looks",
                ),
                Evidence("batch normalization layers in that state", f"{len(tiny)} of {len(norms)}", 0),
                *([loss_evidence(seen, progress)] if progress.known else []),
            ],
            cause=f"{why}; {state}.",
            fixes=[
                Fix(f"Use larger batches:\n{code('DataLoader(dataset, batch_size=32, shuffle=True, drop_last=True)')}"),
                Fix(
                    "Or a normalization that looks at one sample at a time:\n"
                    + code("nn.LayerNorm(features)   # or nn.GroupNorm(groups, channels)")
                ),
            ],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the batch sizes of dense networks that normalize over the batch."""
        for fed in fed_by_loaders(file):
            given = fed.loader.argument(1, "batch_size")
            size = literal(file, given) if given is not None else 1
            if type(size) is not int or not 0 < size < self.few or fed.loader.keyword("batch_sampler") is not None:
                continue
            forward = next((event for event in fed.loop.of("forward") if is_dense_with_norm(event.thing)), None)
            if forward is None or fed.loader.is_open:
                continue
            yield self.finding(
                fitting(f"batch normalization in batches of {size}", "batch normalization in tiny batches"),
                sureness=Sureness.LIKELY,
                place=place_in(file, fed.loader.at),
                evidence=[Evidence(f"rows that each mean and variance comes from, by {line_of(file, fed.loader.at)}",
                                   size, f"{self.few:g} or more", "dense layers give one value for each row")],
                cause="With one row nothing is left but 0; with two or three the values are mostly those of the others "
                "in the batch.",
                fixes=["Use larger batches:\n" + code("DataLoader(data, batch_size=32, shuffle=True)"),
                       "Or normalize each row by itself:\n" + code("nn.LayerNorm(width)")],
                chain=way_to(file, forward, "the network is trained"),
            )  # fmt: skip

    bad = Examples(
        lambda: {
            "batches of two": _run(falling(2.3, 1.9), 2, 2),
            "batches of two, before training": checked(_run(flat(2.3, 5), 2, 2)),
            "four values": _run(flat(2.2), 4),
            "half of the layers": _run(falling(2.3, 1.9), 2, 64),
            "two, in a run that learns well": _run(falling(2.3, 0.3), 2),
            "three looks": _run(falling(2.3, 1.9), 2, looks=3),
            "more than half of the layers": _run(falling(2.3, 1.9), *[2] * 11, *[64] * 10),
        }
    )
    good = Examples(
        lambda: {
            "a usual batch": _run(flat(2.3), 64),
            "three values, before training": checked(_run(flat(2.3, 5), 3, 3)),
            "five values": _run(flat(2.3), 5),
            "one small branch of three": _run(falling(2.3, 1.9), 2, 64, 64),
            "two looks": _run(falling(2.3, 1.9), 2, looks=2),
            "fewer than half of the layers": _run(falling(2.3, 1.9), *[2] * 10, *[64] * 11),
            "too short to say": _run(flat(2.3, 12), 2),
        }
    )
    bad_code = {
        "three rows": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())
                    self.out = nn.Linear(8, 2)

                def forward(self, x):
                    return self.out(self.body(x))

            def train(data):
                net = Net()
                optimizer = torch.optim.Adam(net.parameters())
                loader = DataLoader(data, batch_size=3)  # bad
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    optimizer.step()
            """,
    }
    good_code = {
        "four rows": """
            net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in DataLoader(torch.load("data"), batch_size=4):
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
            """,
        "images, and no normalization": """
            conv = nn.Sequential(nn.Conv1d(8, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
            dense = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 2))
            for x, y in DataLoader(torch.load("data"), batch_size=1):
                F.cross_entropy(conv(x) + dense(x), y).backward()
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        labels = torch.tensor(data.target)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels),
            batch_size=2,  # fix: batch_size=32,
            shuffle=True,
            drop_last=True,
        )

        def block(inputs, outputs):
            return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU())

        model = nn.Sequential(block(64, 64), block(64, 64), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        for epoch in range(2):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        model.eval()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)
