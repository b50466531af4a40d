"""Gradients of a recurrent or very deep network that explode, with nothing to hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import Clip
from stethoscope.facts.code import Site
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Curve, History, Loop
from stethoscope.facts.weights import OPENING_LOOKS, RECURRENT, middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome, small_plot, times
from stethoscope.rules.sites import code, place_at, receiver

HUGE_PACE = 0.1
"""First updates above this share of the weights are too long at any gradient: the learning rate is the cause."""

BEYOND_DOUBT = 1e3
"""A gradient that grew a thousandfold where nothing clips it leaves no other reading."""


@dataclass(frozen=True)
class Burst:
    """How the gradients grew."""

    start: float
    """Median norm before the largest one."""
    largest: float
    step: int
    """First look at which the norm was above the limit."""


def _sequence(loss: ArrayLike, norms: ArrayLike, kind: str = "RNN", **settings: Any) -> History:
    made = run(loss, norms=norms, **({"updates": 0.01} | settings))
    layer = replace(made.layers[0], name="rnn", kind=kind)
    step = Site("train.py", 30, "", "optimizer.step()")
    return replace(
        made,
        layers=(layer, *made.layers[1:]),
        optimizers=(replace(made.optimizers[0], step_site=step),),
    )


class UnclippedGradients(Rule):
    """Gradients of a recurrent or very deep network explode, and nothing clips them.

    ## What it sees
    The norm of all gradients over time: values many times those of the start, after which the loss is thrown up or is
    no number; in a network that applies its weights many times in a row, in a loop without clipping.
    ## Why it hurts
    There the gradient is a product with one factor for each position or layer. It can grow a thousandfold from one
    batch to the next, and a single step along it loses everything that was learned.
    ## How to fix it
    Clip the norm of the gradients between `backward()` and `step()`, at about its usual value. The finding gives it.
    ## When it is not a fault
    Recurrent networks whose gradients stay in bounds, and runs that learn well, are not reported.
    ## Sources
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
    """

    treatments = (
        Clip(1.0),
        Clip(0.25),
    )
    explains = (
        "dying-relu",
        "exploding-gradients",
        "learning-rate-too-high",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "loss-not-finite",
        "loss-oscillating",
        "loss-spike",
        "numerical-instability",
        "collapsed-predictions",
        "no-gain-over-baseline",
    )
    reads = ("losses", "gradients", "updates", "loop")

    growth = Limit(
        30, unit="largest gradient norm / norm before", why="norms of healthy recurrent runs grew by up to 12 times"
    )
    depth = Limit(30, unit="weight matrices or kernels in a row", why="ordinary networks of that depth are normalized")
    leap = Limit(
        3, unit="highest loss / loss at the start", why="batches differ by less; losses thrown off rise by more"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Look for gradients that grew, where the loss was thrown off and nothing clips."""
        named = self._why_prone(seen)
        if not named:
            yield self.cannot_tell("the network is neither recurrent nor very deep")
            return
        progress, norms = progress_of(seen), seen.curve("norm")
        if norms is None or not (progress.known or progress.ended_nonfinite):
            yield self.cannot_tell("the run was too short, or no gradients were seen")
            return
        is_clipped = seen.loop.clip_site is not None or seen.curve("clip norm") is not None
        was_thrown = progress.ended_nonfinite or progress.highest >= self.leap * progress.start
        if is_clipped or not progress.is_stuck or not was_thrown or _first_pace(seen) >= HUGE_PACE:
            return
        burst = self._burst(norms)
        if burst is not None:
            yield self._report(seen, named, norms, burst, progress)

    def _why_prone(self, seen: History) -> tuple[str, str] | None:
        """The layer that makes gradients explode, and what it is; None in other networks."""
        for layer in seen.layers:
            if layer.kind in RECURRENT:
                return layer.name, f"`{layer.kind}` `{layer.name}`"
        depth = len(weights_by_depth(seen))
        is_normalized = any("Norm" in layer.kind for layer in seen.layers)
        return ("", f"a stack of {depth} layers") if depth >= self.depth and not is_normalized else None

    def _burst(self, norms: Curve) -> Burst | None:
        finite = norms.values[np.isfinite(norms.values)]
        if finite.size < 3:
            return None
        before = finite[: min(OPENING_LOOKS, int(finite.argmax()))]
        start = float(np.median(before)) if before.size else 0.0
        if not start > 0 or finite.max() < self.growth * start:
            return None
        step = int(norms.steps[np.flatnonzero(~(norms.values < self.growth * start))[0]])
        return Burst(start, float(finite.max()), step)

    def _report(self, seen: History, named: tuple[str, str], norms: Curve, burst: Burst, progress: Progress) -> Finding:
        module, prone = named
        optimizer = seen.optimizers[0] if seen.optimizers else None
        site = optimizer.step_site if optimizer else None
        name = receiver(site, "step", "optimizer")
        limit = float(f"{burst.start:.0e}")
        return self.finding(
            f"gradients grow {times(burst.largest / burst.start)} times and nothing clips them",
            sureness=Sureness.CERTAIN if burst.largest >= BEYOND_DOUBT * burst.start else Sureness.LIKELY,
            place=place_at(site, steps=(burst.step, max(seen.steps - 1, 0)), module=module or None),
            evidence=[
                Evidence(
                    "gradient norm, largest / before",
                    f"{burst.largest:.3g} / {burst.start:.2g}",
                    f"at most {self.growth * burst.start:.2g}",
                    plot=small_plot(norms, "gradient norm", (None, self.growth * burst.start), log=True),
                ),
                Evidence("calls of `clip_grad_norm_` in the loop", "0", "1 before each step"),
                loss_evidence(seen, progress),
            ],
            cause=f"In {prone} the gradient is a product of many factors, which grew from step {burst.step:,} on; "
            f"unclipped, one step along it was enough, and the loss {outcome(progress)}.",
            fixes=[
                "Clip the norm of the gradients at about its usual value, before the step:\n"
                + code(f"nn.utils.clip_grad_norm_(model.parameters(), {limit:g})", f"{name}.step()")
            ],
        )

    bad = Examples(
        lambda: {
            "an RNN that becomes NaN": _sequence(
                [1.0, 0.9, *falling(1, 0.8, 60), 1e6, *[np.nan] * 60], [*[0.3] * 10, 900, 1e9]
            ),
            "a burst next to the limit": _sequence([2.3, *flat(2.2), 40.0, *flat(2.4)], [*[0.3] * 10, 9.3, 2.0]),
            "a loss thrown up next to the limit": _sequence([*flat(2.3), 7.05, *flat(2.3)], [*[0.3] * 10, 900, 2.0]),
            "thirty layers in a row": run(
                [1.0, 0.9, *flat(0.95, 60), 1e6, *[np.nan] * 60],
                norms=[*[0.3] * 10, 900, 1e9],
                weights=30,
                updates=0.01,
            ),
        }
    )
    good = Examples(
        lambda: {
            "clipped": replace(
                _sequence([*flat(1.0), 50.0, *flat(1.1)], [*[0.3] * 10, 900, 2.0]),
                loop=Loop(clip_site=Site("train.py", 29), clip_kind="norm", clip_limit=1.0),
            ),
            "learns well": _sequence([*falling(1.0, 0.1, 100), 50.0, *flat(0.1)], [*[0.3] * 10, 900, 2.0]),
            "a burst just below the limit": _sequence([2.3, *flat(2.2), 40.0, *flat(2.4)], [*[0.3] * 10, 8.8, 2.0]),
            "a loss that is not thrown up": _sequence([*flat(2.3), 6.75, *flat(2.3)], [*[0.3] * 10, 900, 2.0]),
            "a rate that is too high from the first step": _sequence(
                [1.0, 0.9, *[np.nan] * 60], [0.3, 0.3, 0.3, 900], updates=0.4
            ),
            "29 layers in a row": run(
                [1.0, 0.9, *flat(0.95, 60), 1e6, *[np.nan] * 60],
                norms=[*[0.3] * 10, 900, 1e9],
                weights=29,
                updates=0.01,
            ),
            "a shallow network": run([1.0, 1e6, *[np.nan] * 60], norms=[*[0.3] * 10, 900]),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        pixels = torch.tensor(data.data, dtype=torch.float32).view(-1, 32, 2)
        pixels = (pixels - pixels.mean()) / pixels.std()
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(pixels, torch.tensor(data.target)), batch_size=64, shuffle=True
        )


        class Reader(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.RNN(2, 64, nonlinearity="relu", batch_first=True)
                self.head = nn.Linear(64, 10)

            def forward(self, x):
                return self.head(self.rnn(x)[0][:, -1])


        model = Reader()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                # add: nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
        print(f"loss {loss.item():.4f}")
        """)


def _first_pace(seen: History) -> float:
    """Update / weight of the typical weight at the first look; 0 when it was not measured."""
    ratios = update_ratios(seen, weights_by_depth(seen))
    first = float(middle(ratios[0])) if ratios.size else 0.0
    return first if np.isfinite(first) else 0.0
