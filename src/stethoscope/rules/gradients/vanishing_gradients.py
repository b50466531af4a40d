"""Gradients that shrink layer by layer towards the input."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Kind, Plot, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import History
from stethoscope.facts.weights import Numbers, gradients_by_depth, middle
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, times
from stethoscope.rules.sites import code, place_at

BESIDE = 30.0
"""A layer that gets this many times less than one before it lies beside the way of the gradient: on it, gradients of
healthy networks differ by up to 5 from layer to layer."""


_staircase = np.array([[1e-7, 1e-6, 1e-5, 1e-4, 1e-3]])
_steps = np.repeat(_staircase, 12, axis=0)


class VanishingGradients(Rule):
    """Gradients shrink by orders of magnitude towards the input, so early layers do not learn.

    ## What it sees
    The gradient of each weight matrix, in the order of depth: a staircase that falls towards the input, in a run
    whose loss does not leave the level of guessing, or only slowly.
    ## Why it hurts
    The update of a weight is made from its gradient. When the first layers receive a thousandth of what the last
    ones do, the network learns on top of features that stay random. A stack of sigmoids does that by itself: the
    slope of a sigmoid is at most 1/4, and a product of slopes stands before each gradient.
    ## How to fix it
    Replace sigmoid or tanh between layers by ReLU or GELU; put a normalization layer after each linear layer; give
    deep networks skip connections. A higher learning rate does not help: it only moves the last layers.
    ## When it is not a fault
    In a network that learns well, whatever its gradients look like, and in one that has converged, where all
    gradients are small. Gradients that are exactly zero are another thing: see `dying-relu`.
    ## Sources
    Y. Bengio, P. Simard and P. Frasconi, IEEE TNN 5 (1994). X. Glorot and Y. Bengio, AISTATS 2010. X. Zhang et al.,
    AUTOTRAINER, ICSE 2021 (first / last below 1e-3). The limit was checked on 400 runs of our own.
    """

    kind = Kind.SYMPTOM
    explains = (
        "collapsed-predictions",
        "loss-not-decreasing",
        "attention-collapse",
        "underfitting",
        "too-few-epochs",
        "no-gain-over-baseline",
    )
    reads = ("losses", "gradients")

    ratio = Limit(
        1e-3,
        unit="gradient of the first weight / of the last",
        why="stacks of 4 to 9 sigmoids show 2e-8 to 7e-4; 106 healthy runs and 22 that were stuck for other reasons "
        "0.007 and more, deep ReLU networks at a small initialization 0.017",
    )
    fewest_weights = Limit(4, unit="weights", why="a staircase of three steps is no trend over depth")
    order = Limit(
        0.8,
        unit="correlation of depth with rank of the gradient",
        why="a staircase has 1; one odd layer (a narrow one, an attention bias) among even ones has less than 0.5",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the first layers with the last, unless the run learns well."""
        progress = progress_of(seen)
        if not progress.known:
            yield self.cannot_tell("the run was too short, or no loss was seen")
            return
        if progress.learns_well or progress.ended_nonfinite:
            return
        weights, sizes = _on_the_trunk(seen, *gradients_by_depth(seen))
        if len(weights) < self.fewest_weights or not np.all(sizes > 0):
            return
        if sizes[0] <= self.ratio * sizes[-1] and _rank_correlation(sizes) >= self.order:
            yield self._report(seen, progress, weights, sizes)

    def _report(self, seen: History, progress: Progress, weights: list[int], sizes: Numbers) -> Finding:
        first, last = (seen.parameters[weights[i]] for i in (0, -1))
        module = seen.layers[first.layer].name
        squashing = next((layer.feeds for layer in seen.layers if layer.feeds in ("sigmoid", "tanh")), "")
        through = f" through {squashing} layers" if squashing else ""
        plot = Plot(
            tuple(float(i) for i in range(len(weights))),
            tuple(map(float, sizes)),
            "gradient (rms) of each weight, input to output",
            (float(sizes[-1]) / 10, None),
            log=True,
        )
        title = f"gradients shrink {times(float(sizes[-1] / sizes[0]))} times on the way back"
        return self.finding(
            f"{title} to `{module}`" if len(title) + len(module) <= 66 else title,
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            place=place_at(None, steps=(0, max(seen.steps - 1, 0)), module=module, parameter=first.name),
            evidence=[
                Evidence(
                    f"gradient (rms) of `{first.name}` / of `{last.name}`",
                    f"{sizes[0]:.1e} / {sizes[-1]:.1e} = {sizes[0] / sizes[-1]:.1e}",
                    "0.02 to 5",
                    "sampled, median over the looks",
                    plot,
                ),
                loss_evidence(seen, progress),
            ],
            cause=f"Each layer on the way back{through} passes on a fraction of its gradient, so hardly any "
            "of what the loss says reaches the first layers.",
            fixes=_fixes(squashing),
            unless="the first layers are meant to keep their weights.",
        )

    bad = Examples(
        lambda: {
            "a stack of sigmoids": run(flat(2.31), gradients=_steps, weights=5),
            "a ratio next to the limit": run(
                flat(2.31), gradients=np.repeat([[0.97e-6, 1e-5, 3e-5, 1e-4, 1e-3]], 12, axis=0), weights=5
            ),
            "slow, long after the start": run(falling(2.31, 1.95), gradients=_steps, weights=5),
            "four weights": run(flat(2.31), gradients=_steps[:, 1:], weights=4),
            "a staircase with worn steps: order 0.83": run(
                flat(2.31), gradients=np.repeat([[2e-7, 1e-7, 1e-5, 1e-6, 2e-3, 1e-3]], 12, axis=0), weights=6
            ),
        }
    )
    good = Examples(
        lambda: {
            "a stack that learns in spite of it": run(falling(2.31, 0.3), gradients=_steps, weights=5),
            "converged: all gradients are small": run(flat(1e-4), gradients=1e-9, weights=5),
            "stuck, with even gradients": run(flat(2.31), gradients=0.01, weights=5),
            "a ratio just above the limit": run(
                flat(2.31), gradients=np.repeat([[1.03e-6, 1e-5, 3e-5, 1e-4, 1e-3]], 12, axis=0), weights=5
            ),
            "three weights": run(flat(2.31), gradients=_steps[:, [0, 1, 4]], weights=3),
            "smallest in the middle: order 0.77": run(
                flat(2.31), gradients=np.repeat([[1e-6, 2e-7, 1e-7, 1e-5, 1e-3, 2e-3]], 12, axis=0), weights=6
            ),
            "dead units pass no gradient at all": run(
                flat(2.31), gradients=np.repeat([[0, 0, 0, 1e-4, 1e-3]], 12, axis=0), weights=5
            ),
            "too short to say": run(flat(2.31, 12), gradients=_steps, weights=5),
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
        activation = nn.Sigmoid  # fix: activation = nn.ReLU
        layers = [nn.Linear(64, 64), activation()]
        for _ in range(8):
            layers += [nn.Linear(64, 64), activation()]
        model = nn.Sequential(*layers, nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _rank_correlation(sizes: Numbers) -> float:
    """Spearman's correlation of the gradients with depth."""
    ranks = np.argsort(np.argsort(sizes))
    return float(np.corrcoef(np.arange(sizes.size), ranks)[0, 1])


def _on_the_trunk(seen: History, weights: list[int], sizes: Numbers) -> tuple[list[int], Numbers]:
    """Without the weights of side branches, past which the gradient goes: those to whose outputs hardly any comes,
    though layers that were called before get plenty. Queries and keys of a new attention layer are such."""
    arriving = np.nan_to_num(middle(seen.telemetry.layer("gradient_rms").astype(np.float64)))
    layers = [seen.layers[seen.parameters[index].layer] for index in weights]
    stays = []
    for place, layer in enumerate(layers):
        index = seen.parameters[weights[place]].layer
        before = [
            arriving[n]
            for n, other in enumerate(seen.layers)
            if other.model == layer.model and 0 <= other.order < layer.order and n < arriving.size
        ]
        passed = index < arriving.size and arriving[index] > 0
        if not (passed and before and max(before) > BESIDE * arriving[index]):
            stays.append(place)
    return [weights[place] for place in stays], sizes[stays]


def _fixes(squashing: str) -> list[str]:
    new = {"sigmoid": "nn.Sigmoid()", "tanh": "nn.Tanh()"}.get(squashing)
    fixes = []
    if new:
        fixes.append(f"Use ReLU between the layers:\n{code(f'nn.ReLU()   # was {new}')}")
    fixes.append(f"Put a normalization after each hidden layer:\n{code('nn.LayerNorm(width)')}")
    return fixes
