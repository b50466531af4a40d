"""Gradients that grow by orders of magnitude and carry the loss away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Kind, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import Clip
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import Curve, History
from stethoscope.facts.weights import OPENING_LOOKS, RECURRENT
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, small_plot, times
from stethoscope.rules.sites import code, place_at


class ExplodingGradients(Rule):
    """Gradients grow by orders of magnitude, and the loss leaps up or stops being a number.

    ## What it sees
    The norm of all gradients over time, before clipping where they are clipped: a value a hundred times what the
    run itself showed at its start, together with a loss that leapt up and did not come back.
    ## Why it hurts
    One such gradient throws the weights far from where they were. What was learned is lost, ReLU units die, and
    in the worst case the weights become infinite. In recurrent networks the gradient is a product over all time
    steps, which grows without bound when the recurrent weights are a little too large.
    ## How to fix it
    Clip the norm of the gradients between `backward()` and `step()`. Without a recurrent part, also lower the
    learning rate.
    ## When it is not a fault
    A gradient that grows while the loss falls, as after a plateau, and large gradients that are clipped in a run
    that learns. A loss that becomes NaN in one step, with no growth before, has another cause.
    ## Sources
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
    """

    kind = Kind.SYMPTOM
    reads = ("losses", "gradients")
    treatments = (Clip(1.0),)
    explains = (
        "collapsed-predictions",
        "dying-relu",
        "loss-not-finite",
        "numerical-instability",
        "loss-not-decreasing",
        "attention-collapse",
        "underfitting",
        "loss-oscillating",
        "loss-spike",
    )

    growth = Limit(
        100,
        unit="largest gradient norm / norm at the start",
        why="healthy runs grow too, one of 106 by 246 times, but they learn; 22 runs that were stuck for other reasons "
        "stayed below 2.3, runs that were thrown off show 145 and more",
    )
    leap = Limit(
        3,
        unit="highest loss / loss at the start",
        why="batches differed by up to 1.7 in runs that were stuck for other reasons; losses that were thrown off rose "
        "by 5 and more",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Look for growth over time, when the loss was thrown off."""
        progress = progress_of(seen)
        norms = _norms(seen)
        if norms is None or not (progress.known or progress.ended_nonfinite):
            yield self.cannot_tell("the run was too short, or no gradients were seen")
            return
        finite = norms.values[np.isfinite(norms.values)]
        if not progress.is_stuck or finite.size < 3 or not self._was_thrown_off(seen, progress):
            return
        # What was largest at once did not grow, so the start is what came before the largest.
        before = finite[: min(OPENING_LOOKS, int(finite.argmax()))]
        start = float(np.median(before)) if before.size else 0.0
        if start > 0 and finite.max() >= self.growth * start:
            yield self._report(seen, norms, start, float(finite.max()))

    def _was_thrown_off(self, seen: History, progress: Progress) -> bool:
        if progress.ended_nonfinite:
            return True
        return progress.highest >= self.leap * progress.start

    def _report(self, seen: History, norms: Curve, start: float, largest: float) -> Finding:
        began = int(norms.steps[np.flatnonzero(~(norms.values < self.growth * start))[0]])
        recurrent = next((layer for layer in seen.layers if layer.kind in RECURRENT), None)
        clipped = seen.loop.clip_site is not None
        cause = "An update along such a gradient throws the weights far away, and the loss with them."
        if recurrent is not None:
            cause = (
                f"The gradient of `{recurrent.name}` ({recurrent.kind}) is a product over all time steps, which grows "
                "exponentially once its recurrent weights are a little too large."
            )
        return self.finding(
            f"gradients grew {times(largest / start)} times by step {began}",
            severity=Severity.ERROR,
            place=place_at(
                seen.optimizers[0].step_site if seen.optimizers else None,
                steps=(began, max(seen.steps - 1, began)),
                module=recurrent.name if recurrent else None,
            ),
            evidence=[
                Evidence(
                    "largest norm of all gradients" + (", before clipping" if clipped else ""),
                    f"{largest:.3g}",
                    f"about {start:.2g}, as at the start",
                    "sampled",
                    small_plot(norms, "gradient norm", (None, 10 * start), log=True),
                ),
                loss_evidence(seen, progress_of(seen)),
            ],
            cause=cause,
            fixes=_fixes(clipped, seen.loop.clip_limit, start, recurrent is not None),
            unless="the gradients are clipped and the loss recovers.",
        )

    bad = Examples(
        lambda: {
            "the loss leaps up and stays": run([*falling(2.3, 1.2, 100), *flat(40.0, 100)], norms=[1.0] * 10 + [500.0]),
            "growth next to the limit": run([*flat(2.3, 100), *flat(9.0, 100)], norms=[1.0] * 10 + [102.0]),
            "a leap next to the limit": run([*flat(2.3, 100), 7.1, *flat(2.31, 100)], norms=[1.0] * 10 + [1e4]),
            "at the second step, then NaN": run([1.0, 50.0, 1e9, *[np.nan] * 60], norms=[2.0, 5e3, 4e12]),
            "infinite at last": run([*flat(2.3, 50), *[np.inf] * 50], norms=[1.0] * 10 + [300.0, np.inf]),
        }
    )
    good = Examples(
        lambda: {
            "large at once, then dead": run([2.3, 50.0, *flat(2.31)], norms=[1e5, 3.0, *[0.01] * 10]),
            "even gradients in a stuck run": run(flat(2.31), norms=[1.0] * 20),
            "growth after a plateau, and learning": run(falling(2.3, 0.1), norms=[0.01] * 10 + [4.0] * 10),
            "a spike that the run survived": run(
                [*falling(2.3, 0.2, 100), 30.0, *flat(0.2, 99)], norms=[1.0] * 10 + [200]
            ),
            "growth just below the limit": run([*flat(2.3, 100), *flat(9.0, 100)], norms=[1.0] * 10 + [98.0]),
            "a leap just below the limit": run([*flat(2.3, 100), 6.7, *flat(2.31, 100)], norms=[1.0] * 10 + [1e4]),
            "NaN in one step, from healthy gradients": run(
                [*flat(2.3, 50), *[np.nan] * 50], norms=[1.0] * 10 + [np.nan]
            ),
        }
    )
    bug = Bug("""
        import torch
        from torch import nn

        torch.manual_seed(SEED)
        signals = torch.randn(2000, 20, 1)
        sums = signals.sum(1) / 20**0.5
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(signals, sums), batch_size=64, shuffle=True
        )


        class Adder(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.RNN(1, 32, nonlinearity="relu", batch_first=True)
                self.head = nn.Linear(32, 1)

            def forward(self, x):
                return self.head(self.rnn(x)[0][:, -1])


        model = Adder()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)

        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(x), y)
                loss.backward()
                # add: nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
        print(f"loss {nn.functional.mse_loss(model(signals), sums).item():.4f}")
        """)


def _norms(seen: History) -> Curve | None:
    """Gradient norms over time: those before clipping, of every step, where the script clips."""
    for kind in ("clip norm", "norm"):
        curve = seen.curve(kind)
        if curve is not None and curve.values.size:
            return curve
    return None


def _fixes(clipped: bool, limit: float, start: float, recurrent: bool) -> list[Fix]:
    lines = code("for group in optimizer.param_groups:", "    group['lr'] *= 0.1")
    slower = Fix(f"Lower the learning rate to a tenth:\n{lines}")
    if clipped and np.isfinite(limit):
        return [Fix(f"Clip harder than at {limit:g}: the usual norm was {start:.2g}."), slower]
    norm = float(f"{max(start, 1e-3):.0e}") if not recurrent else 1.0
    line = f"torch.nn.utils.clip_grad_norm_(model.parameters(), {norm:g})"
    clip = Fix(f"Clip the gradients, between `backward()` and `step()`:\n{code(line)}")
    return [clip, slower] if recurrent else [slower, clip]
