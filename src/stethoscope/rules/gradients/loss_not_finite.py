"""A loss that is NaN or infinite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Kind, Plot, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.training import Curve, Doubles, History
from stethoscope.rules.sites import code, place_at

NAN, INFINITY = float("nan"), float("inf")
PLOTTED_STEPS = 60


def _run(values: Sequence[float]) -> History:
    curve = Curve("training loss", "loss", "training", np.arange(len(values)), np.array(values, np.float64))
    return History(steps=len(values), curves=(curve,))


class LossNotFinite(Rule):
    """The training loss is NaN or infinite.

    ## What it sees
    Every training loss, at every step.
    ## Why it hurts
    A loss that is not a number has gradients that are none either; one step with them makes every weight
    that they reach NaN, and nothing brings it back. An error when it lasts, a warning when it passes.
    ## How to fix it
    Look for where the first such value came from: see `numerical-instability`, which names the operation,
    and `learning-rate-too-high`. Until then a step can be left out when its loss is not finite.
    ## When it is not a fault
    Losses that are infinite by definition for some samples, left out of the step by the script itself.
    ## Sources
    IEEE 754: NaN and infinity pass through sums and products.
    """

    kind = Kind.SYMPTOM
    reads = ("losses",)
    from_curves = True

    lasting = Limit(0.5, unit="share of the losses from the first on", why="fewer than that passed by themselves")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Find the first loss that is not finite, and whether it lasted."""
        curves = [curve for curve in seen.curves if curve.kind == "loss" and curve.phase == "training"]
        if not curves:
            yield self.cannot_tell("no training loss was seen")
        for curve in curves:
            bad = np.flatnonzero(~np.isfinite(curve.values))
            if bad.size:
                yield self._report(curve, int(bad[0]), int(bad.size))

    def _report(self, curve: Curve, first: int, count: int) -> Finding:
        after: Doubles = curve.values[first:]
        lasts = count >= self.lasting * after.size
        word = "NaN" if np.isnan(after[0]) else "infinity" if after[0] > 0 else "minus infinity"
        step, last = int(curve.steps[first]), int(curve.steps[-1])
        before = curve.values[:first]
        last_good = f"{before[-1]:.4g}" if first else "none: it is the first loss"
        title = f"{curve.name} is {word} from step {step:,}"
        if not lasts:
            title = f"{curve.name} is not finite at {count:,} steps, first at {step:,}"
        shown = slice(max(0, first - PLOTTED_STEPS), first)
        plot = Plot(
            tuple(curve.steps[shown].astype(float).tolist()),
            tuple(curve.values[shown].tolist()),
            f"{curve.name} before step {step:,}",
        )
        return self.finding(
            title[:72],
            severity=Severity.ERROR if lasts else Severity.WARNING,
            sureness=Sureness.CERTAIN,
            place=place_at(curve.site, steps=(step, last)),
            evidence=[
                Evidence(f"losses that are NaN or infinite, of {after.size:,} from step {step:,} on", count, 0),
                Evidence(
                    f"last {curve.name} before",
                    last_good,
                    "finite at every step",
                    plot=plot if first > 1 else None,
                ),
            ],
            cause="One value that is not finite makes the whole loss so"
            + (", and its gradients made the weights so." if lasts else "; here it passed."),
            fixes=[
                "Find the operation that made it, with the traceback of its forward call:\n"
                + code("torch.autograd.set_detect_anomaly(True)"),
                "Leave such a step out, which hides the cause and keeps the weights:\n"
                + code("if not torch.isfinite(loss):", "    continue"),
            ],
        )

    bad = Examples(
        lambda: {
            "NaN from step 30": _run([*np.linspace(2, 1, 30), *[NAN] * 70]),
            "NaN at once": _run([NAN] * 5),
            "infinite once, then finite": _run([*np.linspace(2, 1, 30), INFINITY, *np.linspace(1, 0.9, 30)]),
            "half of the losses": _run([2.0, NAN, 1.0] + [NAN, 1.0] * 20 + [NAN]),
            "a little under half": _run([2.0] + [NAN, 1.0] * 24 + [1.0] * 2),
        }
    )
    good = Examples(
        lambda: {
            "falls": _run(np.linspace(2, 0.1, 100).tolist()),
            "grows without bound and stays finite": _run((10.0 ** np.arange(30)).tolist()),
            "no loss seen": History(steps=100),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_wine
        from torch import nn

        torch.manual_seed(SEED)
        data = load_wine()
        rows = torch.tensor(data.data, dtype=torch.float32)
        rows = (rows - rows.mean(dim=0)) / rows.std(dim=0)
        labels = torch.tensor(data.target)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(rows, labels), batch_size=12, shuffle=True
        )
        model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        for epoch in range(20):
            for x, y in loader:
                optimizer.zero_grad()
                losses = nn.functional.cross_entropy(model(x), y, reduction="none")
                of_class = nn.functional.one_hot(y, 3)
                counts = of_class.sum(dim=0)  # fix: counts = of_class.sum(dim=0).clamp(min=1)
                loss = ((losses.unsqueeze(1) * of_class).sum(dim=0) / counts).mean()
                loss.backward()
                optimizer.step()
        print(f"loss {loss.item():.4f}")
        """)
