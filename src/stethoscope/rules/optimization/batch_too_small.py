"""Batches so small that each step follows the noise of a few samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import LargerBatches
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Batches, Curve, Doubles, History
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, small_plot
from stethoscope.rules.sites import code, place_at

TIMES = 8
"""Batches whose gradients are averaged in the experiment: the noise of a step falls to a third."""


def _run(loss: ArrayLike, rows: int = 1) -> History:
    """A classifier whose batches have so many rows."""
    looks = np.arange(12)
    sizes = np.full(looks.size, rows)
    return replace(
        run(loss, updates=0.02),
        batches=Batches(looks, sizes, looks + 1, samples=sizes),
    )


class BatchTooSmall(Rule):
    """Each batch has so few rows that a step follows their noise more than what they have in common.

    ## What it sees
    The rows of a batch, a loss that jumps from step to step by a good part of its level and comes to rest above what
    could be learned, and an experiment: the same steps along gradients that are averaged over several batches do far
    better.
    ## Why it hurts
    The noise of a gradient falls with the root of the rows. With one or two rows a step undoes what the step before
    it did, and the weights wander round the solution at a distance that the learning rate sets.
    ## How to fix it
    Take 16 to 64 rows, or add gradients up over several batches. A lower learning rate helps as well, and is slower.
    ## When it is not a fault
    Single samples by design: online learning, episodes, whole sequences or pictures with a target at each position.
    Nothing is reported where averaging does not help.
    ## Sources
    S. McCandlish et al., "An Empirical Model of Large-Batch Training", arXiv:1812.06162 (the gradient noise scale).
    Bengio 2012, "Practical recommendations for gradient-based training of deep architectures", 3.1.1.
    """

    severity = Severity.WARNING
    explains = (
        "learning-rate-too-high",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "loss-oscillating",
        "loss-spike",
        "dying-relu",
        "batch-norm-tiny-batch",
        "no-gain-over-baseline",
    )
    reads = ("losses", "batches")
    treatments = (LargerBatches(TIMES),)

    rows = Limit(4, unit="rows in a batch", why="8 and more are in use for large models; with 4 recipes begin to fail")
    swing = Limit(
        0.25,
        unit="change of the loss from one step to the next / its level at the end",
        why="batches of 32 change it by a tenth",
    )
    learned = Limit(
        0.9, unit="share of the way from guessing to a loss of 0", why="a run that came further has little to gain"
    )
    fewest_steps = Limit(100, unit="steps", why="noise is averaged over many small steps: in fewer it may yet be")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the size of the batches by the swing of the loss."""
        progress, curve, sizes = progress_of(seen), seen.curve("loss"), seen.batches.samples
        if curve is None or not progress.known or seen.steps < self.fewest_steps or not sizes.size:
            yield self.cannot_tell(
                f"the run was shorter than {self.fewest_steps:g} steps, or its batches or its loss were not seen"
            )
            return
        rows = int(np.median(sizes))
        if rows > self.rows or progress.ended_nonfinite or not progress.gain < self.learned:
            return
        late: Doubles = curve.values[-max(20, curve.values.size // 4) :]
        level = float(np.nanmean(late))
        swing = float(np.nanmedian(np.abs(np.diff(late)))) / level if level > 0 else 0.0
        if swing >= self.swing:
            yield self._report(seen, progress, curve, rows, swing)

    def _report(self, seen: History, progress: Progress, curve: Curve, rows: int, swing: float) -> Finding:
        of_rows = "a single row" if rows == 1 else f"{rows} rows"
        return self.finding(
            f"batches of {of_rows}: the loss jumps by {swing:.0%} of its level each step",
            sureness=Sureness.SUSPECTED,
            place=place_at(seen.optimizers[0].site if seen.optimizers else None, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence("rows in a batch", rows, "16 to 128", "median of the batches looked at"),
                Evidence(
                    "change of the loss from step to step, as a share of its level",
                    f"{swing:.0%}",
                    f"below {self.swing:.0%}",
                    "last quarter of the run",
                    plot=small_plot(curve, "training loss"),
                ),
                loss_evidence(seen, progress),
            ],
            cause="The gradient of so few rows is mostly noise: along the mean of several batches, steps of the same "
            "length lead far lower.",
            fixes=[
                "Take larger batches:\n" + code("DataLoader(dataset, batch_size=32, shuffle=True)"),
                f"Or add gradients up over {TIMES} batches:\n"
                + code(
                    f"(loss / {TIMES}).backward()",
                    f"if (i + 1) % {TIMES} == 0:",
                    "    optimizer.step()",
                    "    optimizer.zero_grad()",
                ),
            ],
            unless="samples are meant to come one by one.",
        )

    bad = Examples(
        lambda: {
            "one row": _run(flat(1.5, 300, noise=0.5)),
            "four rows, stuck": _run(flat(2.3, 300, noise=0.5), rows=4),
            "learns, and could do better": _run(falling(2.3, 0.25, 300) * (1 + 0.5 * np.sin(np.arange(300) * 2.4))),
            "a hundred steps": _run(flat(1.5, 100, noise=0.5)),
            "a swing next to the limit": _run(flat(1.5, 300, noise=0.1945)),
        }
    )
    good = Examples(
        lambda: {
            "five rows": _run(flat(1.5, 300, noise=0.5), rows=5),
            "learns well": _run(falling(2.3, 0.2, 300) * (1 + 0.5 * np.sin(np.arange(300) * 2.4))),
            "a swing just below the limit": _run(flat(1.5, 300, noise=0.188)),
            "99 steps": _run(flat(1.5, 99, noise=0.5)),
            "no number in the end": _run([*flat(2.3, 100, noise=0.5), *[np.nan] * 200]),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)
        size, epochs = 1, 1  # fix: size, epochs = 32, 32
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images[:1400], labels[:1400]), batch_size=size, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.25)

        for epoch in range(epochs):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images[1400:]), labels[1400:]).item():.4f}")
        """)
