"""Sigmoids or tanhs on top of each other, through which no gradient comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Plot, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import Rectify
from stethoscope.facts.code import Code
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.signal import SQUASHING, Chain, chain_of
from stethoscope.facts.stacks import sigmoids_of
from stethoscope.facts.training import LAYER_STATISTICS, PARAMETER_STATISTICS, History
from stethoscope.rules.examples import checked, falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome, times
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code, place_at


def _run(
    loss: ArrayLike, gradients: Sequence[float], feeds: str = "sigmoid", gain: float = 0.577, squashed: int = 99
) -> History:
    """A chain of 64 units a layer whose outputs receive these gradients; the last one gives the scores."""
    count = len(gradients)
    seen = run(loss, weights=count)
    layers, parameters = seen.telemetry.layers.copy(), seen.telemetry.parameters.copy()
    layers[:, :, LAYER_STATISTICS.index("gradient_rms")] = gradients
    parameters[:, :, PARAMETER_STATISTICS.index("weight_rms")] = gain / 8
    named = tuple(
        replace(layer, feeds="log_softmax" if i == count - 1 else feeds if i < squashed else "relu")
        for i, layer in enumerate(seen.layers)
    )
    return replace(seen, layers=named, telemetry=replace(seen.telemetry, layers=layers, parameters=parameters))


_five = (1e-7, 1e-6, 1e-5, 1e-4, 5e-3)


class SaturatingActivationStack(Rule):
    """A stack of sigmoid or tanh layers passes hardly any gradient back to the first layers.

    ## What it sees
    Three or more weight layers in a row whose outputs go into a sigmoid or tanh, and the gradient of the loss with
    respect to the first of them beside the last layer's, at the first looks, in a run that does not learn well.
    In code: four or more sigmoids, each behind a layer with weights, with no normalization and no bypass between.
    ## Why it hurts
    A gradient is multiplied by the slope of each function on its way back. The slope of a sigmoid is at most 1/4, so
    five of them leave at most a thousandth, whatever the learning rate.
    ## How to fix it
    Use ReLU or GELU between the layers, and keep a sigmoid for gates and probabilities. Where tanh is wanted, start
    the weights with `xavier_uniform_` and put a normalization layer between.
    ## When it is not a fault
    Shallow networks, gates of recurrent cells, and stacks that learn well are not reported.
    ## Sources
    X. Glorot and Y. Bengio, AISTATS 2010, sections 3.1 and 4.2. V. Nair and G. Hinton, ICML 2010 (rectified units).
    """

    on_trial = True
    treatments = (Rectify(), Rectify(draws=True))
    explains = (
        "saturated-activations",
        "vanishing-gradients",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "collapsed-predictions",
        "no-gain-over-baseline",
        "learning-rate-too-low",
    )
    reads = ("losses", "activations", "updates")

    fewest_layers = Limit(3, unit="layers that go into a sigmoid or tanh", why="one or two leave enough to learn from")
    ratio = Limit(
        0.01,
        unit="gradient of the first layer's output / of the last one's",
        why="three sigmoids show 0.002, five 3e-5; ReLU networks of that depth 0.05 and more",
    )
    weakest = Limit(
        0.3,
        unit="size by which the weights of tanh layers multiply a signal",
        why="below it the weights are at fault and not the tanh, which passes small signals on whole",
    )
    strongest = Limit(
        3, unit="size by which the weights multiply a signal", why="above it the weights drive units to their limits"
    )

    written = Limit(4, unit="sigmoids one behind the other", why="at best 1/256 of the gradient comes through")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the deepest chain of layers, unless the run learns well."""
        progress = progress_of(seen)
        if not progress.known:
            yield self.cannot_tell("the run was too short, or no loss was seen")
            return
        chain = chain_of(seen)
        if not progress.learns_well and not progress.ended_nonfinite and self._loses(chain):
            assert chain is not None
            yield self._report(seen, progress, chain)

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the chain by the first gradients; said where ReLU does better on a copy."""
        chain, progress = chain_of(seen), progress_of(seen)
        if chain is None:
            yield self.cannot_tell("no chain of layers was seen")
        elif not progress.known and self._loses(chain):  # a run tells better how much it hurts
            yield replace(self._report(seen, progress, chain), sureness=Sureness.SUSPECTED)

    def _loses(self, chain: Chain | None) -> bool:
        """Whether hardly anything of the gradient passes through a chain, at a usual scale of its weights."""
        if chain is None or chain.squashed < self.fewest_layers:
            return False
        gradient = chain.gradient
        if not (gradient[0] > 0 and gradient[-1] > 0 and chain.gain < self.strongest):
            return False
        if "sigmoid" not in chain.feeds and chain.gain < self.weakest:
            return False
        return bool(gradient[0] <= self.ratio * gradient[-1])

    def _report(self, seen: History, progress: Progress, chain: Chain) -> Finding:
        kind = next(feeds for feeds in chain.feeds if feeds in SQUASHING)
        first, last = (seen.layers[chain.layers[i]] for i in (0, -1))
        lost = float(chain.gradient[-1] / chain.gradient[0])
        kept = np.isfinite(chain.gradient)
        plot = Plot(
            tuple(map(float, np.flatnonzero(kept))),
            tuple(map(float, chain.gradient[kept])),
            "gradient (rms) of each layer's output, input to output",
            (float(chain.gradient[-1]) / 20, None),
            log=True,
        )
        module = {"sigmoid": "nn.Sigmoid()", "tanh": "nn.Tanh()"}[kind]
        return self.finding(
            f"{chain.squashed} {kind} layers shrink the gradient {times(lost)} times",
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            place=place_at(None, steps=(0, max(seen.steps - 1, 0)), module=first.name),
            evidence=[
                Evidence(
                    f"gradient (rms) at `{first.name}` / at `{last.name}`, at the start",
                    f"{chain.gradient[0]:.1e} / {chain.gradient[-1]:.1e} = {1 / lost:.1e}",
                    "above 0.05",
                    "of the layers' outputs; sampled",
                    plot,
                ),
                Evidence(f"weight layers that go into a {kind}", chain.squashed, "0 to 2 between other layers"),
                *([loss_evidence(seen, progress)] if progress.known else []),
            ],
            cause=f"Each {kind} multiplies the gradient by its slope, {_slope(kind)}, so hardly any of it "
            f"reaches the first layers{f'; the loss {outcome(progress)}' if progress.known else ''}.",
            fixes=[
                Fix(f"Use ReLU between the layers:\n{code(f'nn.ReLU()   # was {module}')}"),
                Fix(f"Or put a normalization before each {kind}:\n{code('nn.LayerNorm(width)')}"),
            ],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Count the sigmoids that stand one behind the other."""
        for home, sigmoids in sigmoids_of(file):
            if len(sigmoids) < self.written:
                continue
            lines = sorted(sigmoids)
            yield self.finding(
                f"{len(sigmoids)} sigmoids stand one behind the other",
                sureness=Sureness.LIKELY,
                place=place_in(file, home),
                evidence=[
                    Evidence(
                        f"share of the gradient that can come through those of {line_of(file, lines[0])} to "
                        f"{line_of(file, lines[-1])}",
                        f"{0.25 ** len(sigmoids):.1g} at most",
                        "0.05 and more",
                        "the slope of a sigmoid is at most 1/4",
                    )
                ],
                cause="Each sigmoid multiplies the gradient by 1/4 at most, so the first layers get next to nothing.",
                fixes=["Use rectified units between the layers:\n" + code("nn.ReLU()")],
            )

    bad = Examples(
        lambda: {
            "four sigmoids": _run(flat(2.31), _five),
            "four sigmoids, before training": checked(_run(flat(2.31, 5), _five)),
            "three sigmoids, a ratio next to the limit": _run(flat(2.31), (4.9e-5, 1e-4, 1e-3, 5e-3)),
            "learns late and little": _run(falling(2.31, 2.0), _five),
            "tanhs at a usual scale": _run(flat(2.31), (1e-5, 3e-5, 1e-4, 1e-3, 5e-3), "tanh"),
            "tanhs at a small scale, next to the limit": _run(flat(2.31), _five, "tanh", 0.31),
            "sigmoids at a large scale, next to the limit": _run(flat(2.31), _five, gain=2.9),
            "sigmoids at a tiny scale": _run(flat(2.31), _five, gain=0.1),
        }
    )
    good = Examples(
        lambda: {
            "a stack that learns well": _run(falling(2.31, 0.3), _five),
            "a ratio just above the limit": _run(flat(2.31), (5.1e-5, 1e-4, 1e-3, 5e-3)),
            "two sigmoids, before training": checked(_run(flat(2.31, 5), (1e-5, 1e-4, 5e-3))),
            "two sigmoids": _run(flat(2.31), (1e-5, 1e-4, 5e-3)),
            "two sigmoids among rectified layers": _run(flat(2.31), _five, squashed=2),
            "tanhs at a tiny scale: the weights are at fault": _run(flat(2.31), _five, "tanh", 0.29),
            "weights so large that they saturate anything": _run(flat(2.31), _five, gain=3.1),
            "weights four times as large, at another count of layers": _run(flat(2.31), _five[1:], gain=4.0),
            "rectified layers": _run(flat(2.31), _five, "relu"),
            "too short to say": _run(flat(2.31, 12), _five),
        }
    )
    bad_code = {
        "in a row": """
            model = nn.Sequential(  # bad
                nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Sigmoid(),
                nn.Dropout(0.1), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 2),
            )
            """,
        "in a loop over layers": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.ModuleList([nn.Linear(8, 8) for _ in range(5)])

                def forward(self, x):
                    for layer in self.hidden:  # bad
                        x = torch.sigmoid(layer(x))
                    return x
            """,
        "in a forward pass": """
            class Net(nn.Module):  # bad
                def __init__(self):
                    super().__init__()
                    self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
                    self.d, self.e = nn.Linear(8, 8), nn.Linear(8, 2)

                def forward(self, x):
                    x = torch.sigmoid(self.a(x))
                    x = torch.sigmoid(self.b(x))
                    x = F.sigmoid(self.c(x))
                    x = self.d(x).sigmoid()
                    return self.e(x)
            """,
    }
    good_code = {
        "three": """
            model = nn.Sequential(
                nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Sigmoid(),
                nn.Linear(8, 2),
            )
            """,
        "normalized between": """
            model = nn.Sequential(
                nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Sigmoid(), nn.LayerNorm(8), nn.Linear(8, 8),
                nn.Sigmoid(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 2),
            )
            """,
        "a loop with a bypass": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.ModuleList([nn.Linear(8, 8) for _ in range(5)])

                def forward(self, x):
                    for layer in self.hidden:
                        x = x + torch.sigmoid(layer(x))
                    return x
            """,
        "rectified": """
            model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
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
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.hidden = nn.ModuleList([nn.Linear(64, 64) for _ in range(5)])
                self.out = nn.Linear(64, 10)

            def forward(self, x):
                for layer in self.hidden:
                    x = torch.sigmoid(layer(x))  # fix: x = torch.relu(layer(x))
                return self.out(x)

        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _slope(kind: str) -> str:
    return "at most 1/4" if kind == "sigmoid" else "below 1 wherever its input is not 0"
