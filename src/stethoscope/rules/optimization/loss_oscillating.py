"""A loss that swings up and down instead of falling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Kind, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Curve, Doubles, History
from stethoscope.facts.weights import middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import LN_10, falling, flat, run
from stethoscope.rules.learning import small_plot
from stethoscope.rules.sites import code, place_at

HEIGHT = 0.75
"""A loss whose swings no longer come up to this share of where learning begins has left guessing for good."""
BY_CHANCE = 2.56 * 2**0.5
"""Width of the middle 80 % of batch means, times the root of the batch size, where errors are normal: the mean of N
squares has a relative standard deviation of sqrt(2 / N)."""


def _swinging(level: float = 1.8, share: float = 1.6, steps: int = 200) -> Doubles:
    """A loss that begins at guessing and swings round a level: its middle 80 % are `share` of the level wide."""
    # The 10th and 90th percentile of a sine lie at 0.951 of its height.
    values: Doubles = level * (1 + share / 1.902 * np.sin(np.arange(steps) * 2.4))
    values[:5] = LN_10
    return values


class LossOscillating(Rule):
    """The loss swings widely from step to step and comes down little.

    ## What it sees
    The second half of the training loss: how far apart its values lie, in a run that is less than half of the way
    down and whose steps move the weights by more than a percent.
    ## Why it hurts
    The optimizer jumps from one wall of the valley to the other. Where the run ends is then a matter of luck.
    ## How to fix it
    Lower the learning rate three- to tenfold, or let it decay.
    ## When it is not a fault
    Losses of small batches differ by chance, the more the smaller the batch: swings of that size are not reported.
    Neither is a run that learns well.
    ## Sources
    X. Zhang et al., AutoTrainer, ICSE 2021 (oscillating loss). L. Smith, "Cyclical Learning Rates", WACV 2017.
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING
    explains = ("loss-spike",)
    reads = ("losses", "batches", "updates")
    to_the_end = True

    swing = Limit(
        2,
        unit="10th to 90th percentile of the second half / what batches of this size differ by",
        why="2 to 9 in runs that swung; up to 2 where a loss near its end is made by a few hard samples",
    )
    pace = Limit(
        0.01,
        unit="update / weight, typical weight, second half",
        why="swings that the optimizer made showed 0.013 and more; shorter steps (CS231n: 0.001) do not carry far",
    )
    fewest_steps = Limit(60, unit="steps", why="half of a shorter run has too few values to tell swings from noise")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the second half of the run."""
        progress, curve = progress_of(seen), seen.curve("loss")
        is_one = len(seen.loop.backward_sites) <= 1
        if curve is None or not progress.known or curve.values.size < self.fewest_steps or not is_one:
            yield self.cannot_tell(f"fewer than {self.fewest_steps:g} values of a single training loss were seen")
            return
        if progress.ended_nonfinite or progress.is_good or not progress.gain < 0.5:
            return
        half = curve.values[curve.values.size // 2 :]
        half = half[np.isfinite(half)]
        low, level, high = (float(np.quantile(half, share)) for share in (0.1, 0.5, 0.9))
        chance = BY_CHANCE / np.sqrt(_batch_size(seen))
        is_wide = high - low >= self.swing * chance * level and high >= HEIGHT * progress.reference
        pace = _pace(seen)
        if is_wide and pace >= self.pace:
            yield self._report(seen, progress, curve, (low, high), pace)

    def _report(
        self, seen: History, progress: Progress, curve: Curve, between: tuple[float, float], pace: float
    ) -> Finding:
        low, high = between
        rate = seen.optimizers[0].groups[0].get("lr") if seen.optimizers and seen.optimizers[0].groups else None
        lower = f"lr={0.2 * rate:.1g}" if isinstance(rate, float | int) else "lr=..."
        return self.finding(
            f"the loss swings between {low:.3g} and {high:.3g} instead of falling",
            place=place_at(curve.site, steps=(int(curve.steps[curve.values.size // 2]), int(curve.steps[-1]))),
            evidence=[
                Evidence(
                    "training loss in the second half, 10th and 90th percentile",
                    f"{low:.4g}, {high:.4g}",
                    f"both below {0.5 * progress.reference:.3g}",
                    "half of the way from where learning begins to 0",
                    small_plot(curve, "training loss", (None, 0.5 * progress.reference)),
                ),
                Evidence("updates / weights in size, second half", f"{pace:.2g}", "1e-3 to 1e-2", "CS231n"),
            ],
            cause=f"Each step moves the weights by about {100 * pace:.2g} % of their size, which carries them across "
            "the valley and back.",
            fixes=[Fix(f"Take shorter steps, and let them shrink towards the end:\n{code(lower)}")],
            unless="the loss is not meant to fall steadily, as in adversarial or reinforcement learning.",
        )

    bad = Examples(
        lambda: {
            "more than its level": run(_swinging(), updates=0.04),
            "next to the limit": run(_swinging(share=1.32), updates=0.04),
            "steps next to the limit": run(_swinging(), updates=0.0102),
            "sixty steps": run(_swinging(steps=60), updates=0.04),
        }
    )
    good = Examples(
        lambda: {
            "learns well": run(falling(2.3, 0.1), updates=0.04),
            "stuck, with a ripple": run(flat(2.31), updates=0.04),
            "just below the limit": run(_swinging(share=1.29), updates=0.04),
            "noise of small batches, and small steps": run(_swinging(), updates=0.0098),
            "well below guessing": run(_swinging(0.9), updates=0.04),
            "59 steps": run(_swinging(steps=59), updates=0.04),
            "no number": run([*_swinging(), *[np.nan] * 100], updates=0.04),
        }
    )
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
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, 10))
        rate = 0.7  # fix: rate = 0.01
        opt = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)

        for epoch in range(8):
            for x, y in loader:
                opt.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                opt.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _batch_size(seen: History) -> float:
    """Samples of a usual batch; 32 when it was not seen."""
    if seen.batches.sizes.size:
        return max(1.0, float(np.median(seen.batches.sizes)))
    shapes = [loss.output_shape for loss in seen.losses if loss.output_shape]
    return float(max(1, shapes[0][0])) if shapes else 32.0


def _pace(seen: History) -> float:
    """Update / weight of the typical weight, median over the looks of the second half; NaN when not measured."""
    ratios: ArrayLike = update_ratios(seen, weights_by_depth(seen))
    values = middle(np.asarray(ratios), axis=1) if np.size(ratios) else np.zeros(0)
    late = values[values.size // 2 :]
    late = late[np.isfinite(late)]
    return float(np.median(late)) if late.size else float("nan")
