"""Weights that start at a scale at which the signal or its gradient grows or shrinks from layer to layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Plot, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import Reinitialize, ScaleForReLU
from stethoscope.facts.modes import losses_of
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.signal import Chain, chain_of
from stethoscope.facts.training import LAYER_STATISTICS, PARAMETER_STATISTICS, Curve, History
from stethoscope.facts.weights import OPENING_LOOKS, RECURRENT, Numbers, middle, update_ratios
from stethoscope.rules.examples import checked, falling, flat, run, with_curve
from stethoscope.rules.learning import loss_evidence, outcome, times
from stethoscope.rules.sites import code, place_at

RECTIFIED = ("relu", "leaky_relu", "gelu", "silu", "elu", "ReLU", "LeakyReLU", "GELU", "SiLU", "ELU")
SLOWEST_PACE = 1e-4
"""Update / weight: of a run at a lower rate nothing can be said but that it is too low."""
FAILED = 0.8
"""Validation loss / guessing: from here on nothing was learned that holds for other data."""
CALM = 1.5
"""A loss that never rose above so many times its start was not thrown about by its steps."""
THROWN, LEFT = 5.0, 0.2
"""A loss that rose to five times guessing, and ends above a fifth of it, was thrown about and has paid for it."""
TINY = 0.05
"""A share of the sound factor that no recipe comes near: a deviation of 0.02 gives 0.1 and more from 25 inputs on."""
DEFAULT, DEEP = 0.35, 5
"""PyTorch's default is 0.41 of the sound factor before ReLU: that does no harm in fewer than five layers."""
STILL = 1e-5
"""Update / weight: where no step comes above it in any layer but the last, hardly more than biases have learned."""


def _run(
    loss: ArrayLike,
    gain: float,
    gradients: Sequence[float] = (0.01,) * 5,
    signal: Sequence[float] = (1.0,) * 5,
    feeds: str = "relu",
    norm: bool = False,
    updates: float = 0.003,
    saturated: float = 0.0,
) -> History:
    """A chain of 64 units a layer with these statistics at its layers' outputs."""
    count = len(gradients)
    seen = run(loss, weights=count, updates=updates)
    layers, parameters = seen.telemetry.layers.copy(), seen.telemetry.parameters.copy()
    layers[:, :, LAYER_STATISTICS.index("gradient_rms")] = gradients
    layers[:, :, LAYER_STATISTICS.index("rms")] = signal
    layers[:, :, LAYER_STATISTICS.index("saturated_share")] = saturated
    parameters[:, :, PARAMETER_STATISTICS.index("weight_rms")] = gain / 8
    named = [replace(layer, feeds=feeds) for layer in seen.layers]
    if norm:
        named[1] = replace(named[1], kind="LayerNorm")
    return replace(seen, layers=tuple(named), telemetry=replace(seen.telemetry, layers=layers, parameters=parameters))


def _validated(seen: History) -> History:
    """The same, with validation losses at guessing."""
    steps = np.array([50, 100, 150, 200])
    return with_curve(seen, Curve("validation loss", "loss", "validation", steps, np.full(4, 2.2)))


def _one(seen: History, gain: float) -> History:
    """The same, with one layer at another scale."""
    parameters = seen.telemetry.parameters.copy()
    parameters[:, 2, PARAMETER_STATISTICS.index("weight_rms")] = gain / 8
    return replace(seen, telemetry=replace(seen.telemetry, parameters=parameters))


def _recurrent(seen: History) -> History:
    """The same, with a first layer that is recurrent."""
    return replace(seen, layers=(replace(seen.layers[0], kind="LSTM"), *seen.layers[1:]))


_shrinking = (2e-7, 2e-6, 2e-5, 1e-4, 5e-3)
_growing = (8.0, 40.0, 200.0, 500.0, 1300.0)


class BadlyScaledInitialization(Rule):
    """Weights start so large or so small that the signal, or its gradient, is lost from layer to layer.

    ## What it sees
    The size of the weights of a typical layer at the first look, by what it multiplies a signal (rms x the square
    root of the inputs), beside the size of the layers' outputs and of their gradients from the first layer to the
    last, in a run without normalization layers that does not learn well.
    ## Why it hurts
    Each layer multiplies the signal by the same factor. A factor of 5 makes 125 of three layers: outputs begin at
    hundreds, and the first steps destroy more than they learn. A factor of 0.3 leaves a thousandth of the gradient
    after six layers, and the first ones stand still.
    ## How to fix it
    Draw weights with a deviation of sqrt(2 / inputs) before ReLU (`kaiming_normal_`), or 1 / sqrt(inputs) before tanh
    (`xavier_uniform_`); or put normalization layers between.
    ## When it is not a fault
    Networks with normalization do not mind the scale of a weight. A run that learns well is never reported.
    ## Sources
    X. Glorot and Y. Bengio, AISTATS 2010. K. He, X. Zhang, S. Ren and J. Sun, "Delving Deep into Rectifiers", ICCV
    2015.
    """

    treatments = (Reinitialize(), ScaleForReLU())
    explains = (
        "dying-relu",
        "exploding-gradients",
        "learning-rate-too-high",
        "loss-not-finite",
        "numerical-instability",
        "saturated-activations",
        "vanishing-gradients",
        "train-eval-mismatch",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "collapsed-predictions",
        "no-gain-over-baseline",
        "loss-not-at-chance",
        "loss-spike",
        "learning-rate-too-low",
        "frozen-parameters",
    )
    reads = ("losses", "activations", "updates")

    extreme = Limit(
        5,
        unit="factor of a typical layer of a recurrent network, or of a single layer / 2",
        why="no recipe comes near it: 99 healthy programs showed 1.4 at most, and 6 in a single layer (a scaled head)",
    )
    largest = Limit(
        3, unit="factor of a typical layer", why="the rules of Glorot and He give 1 and 1.4, PyTorch's default 0.58"
    )
    growth = Limit(
        10,
        unit="size of the largest output of a layer / of the first one's",
        why="a sound start gives outputs of ordinary size",
    )
    first_loss = Limit(3, unit="first loss / guessing", why="a sound start gives a first loss near guessing")
    saturation = Limit(0.5, unit="share of saturated tanh or sigmoid units at the start", why="sound starts show none")
    smallest = Limit(
        0.5,
        unit="factor of a typical layer / the one that keeps a signal's size",
        why="PyTorch's default has 0.41 before ReLU, which does in a few layers and not in ten; 0.58 before tanh",
    )
    ratio = Limit(
        0.01,
        unit="gradient of the first layer's output / of the last one's",
        why="ReLU networks of three layers show 0.05 and more at PyTorch's default, ten layers 6e-5",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the deepest chain of layers, unless it is normalized or the run learns well."""
        progress = progress_of(seen)
        if not progress.known and not progress.ended_nonfinite:
            yield self.cannot_tell("the run was too short, or no loss was seen")
            return
        chain = chain_of(seen, recurrent=True)
        if chain is None or not chain.gain > 0:
            return
        if chain.gain >= self.largest:
            if self._fails(seen, progress, chain) and (found := self._too_large(seen, chain)):
                yield self._report(seen, progress, chain, "large", found)
        elif chain.gain <= self.smallest * _wanted(chain) and (found := self._too_small(seen, progress, chain)):
            # At torch's own scale many networks start slowly and learn: a few steps of a check say too little.
            is_early = seen.preflight.is_check and chain.gain >= DEFAULT * _wanted(chain)
            sureness = Sureness.SUSPECTED if is_early else Sureness.LIKELY
            yield self._report(seen, progress, chain, "small", found, sureness)
        elif found := self._one_too_large(seen, progress, chain):
            yield self._report(seen, progress, chain.only(chain.largest), "large", found)

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the chain by what the first weights do to signal and gradient; said where drawing them anew helps."""
        chain, progress = chain_of(seen, recurrent=True), progress_of(seen)
        if chain is None or not chain.gain > 0:
            yield self.cannot_tell("no chain of layers was seen")
        elif progress.known:
            return  # a run tells better how much it hurts
        elif chain.gain >= self.largest:
            if found := self._too_large(seen, chain):
                yield self._report(seen, progress, chain, "large", found, Sureness.SUSPECTED)
        elif chain.gain <= self.smallest * _wanted(chain) and (found := self._too_small(seen, progress, chain)):
            yield self._report(seen, progress, chain, "small", found, Sureness.SUSPECTED)

    def _fails(self, seen: History, progress: Progress, chain: Chain) -> bool:
        """Whether the run does badly; where the scale is beyond every recipe, half of the way down is asked for."""
        if not progress.learns_well or _fails_validation(seen, progress):
            return True
        return chain.gain >= self.extreme and not progress.is_good and not progress.gain >= 0.5

    def _too_large(self, seen: History, chain: Chain) -> Evidence | None:
        """What a large start did to the signal. Behind a normalization it is the output that tells."""
        if not chain.normalized:
            saturated = seen.telemetry.layer("saturated_share")[0, list(chain.layers[:-1])]
            share = float(np.nanmax(saturated)) if np.isfinite(saturated).any() else 0.0
            if share >= self.saturation:
                return Evidence("sigmoid or tanh units at their limits, at the start", f"{share:.0%}", "below 10 %")
            grown = int(np.argmax(np.nan_to_num(chain.signal)))
            if chain.signal[grown] >= self.growth * chain.signal[0]:
                return _grown(seen, chain, 0, grown)
            if _is_recurrent(seen, chain) and chain.gain >= self.extreme:
                return Evidence(
                    "times that the same weights multiply a signal", "once for each time step", "by a factor of about 1"
                )
        return self._first_loss(seen)

    def _first_loss(self, seen: History) -> Evidence | None:
        """The first loss, where it lies far above guessing."""
        loss, curve = seen.main_loss(), seen.curve("loss")
        if loss is not None and curve is not None and curve.values.size:
            start = float(curve.values[0])
            if np.isfinite(loss.chance) and start >= self.first_loss * loss.chance > 0:
                return Evidence("first training loss", f"{start:.4g}", f"about {loss.chance:.3g}", "guessing")
        return None

    def _one_too_large(self, seen: History, progress: Progress, chain: Chain) -> Evidence | None:
        """What a single layer of twice the extreme factor did to the signal, among layers at a sound scale."""
        worst = chain.largest
        was_thrown = progress.highest >= THROWN * progress.reference and progress.end >= LEFT * progress.reference
        if chain.normalized or not chain.gains[worst] >= 2 * self.extreme or not (was_thrown or progress.is_stuck):
            return None
        if worst and chain.signal[worst] >= self.growth * chain.signal[worst - 1]:
            return _grown(seen, chain, worst - 1, worst)
        return self._first_loss(seen)

    def _too_small(self, seen: History, progress: Progress, chain: Chain) -> Evidence | None:
        """What a small start did to the gradient."""
        paces = update_ratios(seen, list(chain.weights))
        pace = float(np.nanmax(middle(paces[:OPENING_LOOKS]), initial=0.0)) if paces.size else 0.0
        is_tiny = chain.gain <= TINY * _wanted(chain)
        # Weights that are all tiny receive gradients as tiny: then a low pace is the scale's doing, not the rate's.
        calm = not progress.known or (progress.highest <= CALM * abs(progress.start) and not progress.learns_well)
        stays = is_tiny and paces.size > 0 and bool(np.nanmax(paces[:, :-1], initial=0.0) < STILL)
        if chain.normalized or not (calm or stays) or not (is_tiny or pace >= SLOWEST_PACE):
            return None
        gradient = chain.gradient
        if not np.isfinite(gradient[[0, -1]]).all():
            gradient = seen.telemetry.parameter("gradient_rms")[0, list(chain.weights)].astype(np.float64)
        is_lost = 0 < gradient[0] <= self.ratio * gradient[-1]
        # Kernels spread a gradient over many positions, so that a few layers at a default show a small one, too.
        if chain.gain >= DEFAULT * _wanted(chain) and len(chain.weights) < DEEP:
            return None
        if not is_lost or (any(feeds == "sigmoid" for feeds in chain.feeds) and not is_tiny):
            return None
        first, last = (seen.layers[chain.layers[i]].name for i in (0, -1))
        return Evidence(
            f"gradient (rms) at `{first}` / at `{last}`, at the start",
            f"{gradient[0]:.1e} / {gradient[-1]:.1e} = {gradient[0] / gradient[-1]:.1e}",
            "above 0.05",
            "sampled" if gradient is not chain.gradient else "of the layers' outputs; sampled",
            _plot(gradient, "gradient (rms), input to output"),
        )

    def _report(
        self,
        seen: History,
        progress: Progress,
        chain: Chain,
        size: str,
        found: Evidence,
        sureness: Sureness = Sureness.LIKELY,
    ) -> Finding:
        first = seen.parameters[chain.weights[0]]
        wanted = _wanted(chain)
        state = f"the loss {outcome(progress)}" if progress.known else "nothing brings it back"
        if progress.learns_well and _fails_validation(seen, progress):
            state = "what is learned does not hold for validation data"
        elif progress.learns_well:
            state = f"the loss ends at {progress.end:.3g}" + (", by hardly more than biases" if size == "small" else "")
        what = "the signal grows" if size == "large" else "the gradient shrinks"
        by = f"{times(chain.gain / wanted)} times too large" if size == "large" else f"{chain.gain / wanted:.2g} times"
        title = (
            f"weights start {by} for {len(chain.weights)} layers"
            if size == "large" and len(chain.weights) > 1
            else f"the weights of `{seen.layers[chain.layers[0]].name}` start {by}"
            if size == "large"
            else f"weights start at {by} the scale that {len(chain.weights)} layers need"
        )
        return self.finding(
            title,
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            sureness=sureness,
            place=place_at(
                None,
                steps=(0, max(seen.steps - 1, 0)),
                module=seen.layers[chain.layers[0]].name,
                parameter=first.name,
            ),
            evidence=[
                Evidence(
                    "rms of the weights x sqrt(inputs) of a typical layer, at the start",
                    f"{chain.gain:.2g}",
                    f"{wanted:.2g}",
                    "Glorot 2010, He 2015; sampled",
                ),
                found,
                *([loss_evidence(seen, progress)] if progress.known else []),
            ],
            cause=f"Each layer multiplies what passes through it by about the same factor, and {what} from layer to "
            f"layer; {state}.",
            fixes=[
                _draw(wanted),
                Fix(f"Or put a normalization after each hidden layer:\n{code('nn.LayerNorm(width)')}"),
            ],
        )

    bad = Examples(
        lambda: {
            "eight times too large": _run(flat(300.0), 8.0, signal=_growing),
            "eight times too large, before training": checked(_run(flat(300.0, 5), 8.0, signal=_growing)),
            "deviation of 0.01, before training": checked(_run(flat(2.303, 5), 0.08, _shrinking)),
            "a factor next to the limit": _run(flat(300.0), 3.1, signal=_growing),
            "growth next to the limit": _run(flat(2.4), 5.0, signal=(1.0, 2.0, 3.0, 5.0, 10.3)),
            "a first loss next to the limit": _run([7.1, *flat(2.31)], 5.0),
            "normalized, with a first loss far above guessing": _run([17.0, *flat(2.31)], 7.0, norm=True),
            "gone beyond half of guessing by its own scale": _run(falling(90.0, 1.5), 5.1, signal=_growing),
            "one layer of four": _one(_run([2.6, 40.0, *flat(0.8)], 1.0, signal=(1.0, 1.0, 10.3, 4.0, 3.0)), 10.1),
            "nothing but the biases learned": _run(falling(2.303, 0.9), 0.02, _shrinking, updates=1e-7),
            "a recurrent network": _recurrent(_run(falling(3.0, 1.4), 5.1)),
            "saturated from the start, next to the limit": _run(flat(2.31), 8.0, feeds="tanh", saturated=0.51),
            "ends as no number": _run([900.0, 9e5, *[np.nan] * 40], 8.0, signal=_growing),
            "learns by heart: validation stays at guessing": _validated(_run(falling(90.0, 0.5), 8.0, signal=_growing)),
            "deviation of 0.01": _run(flat(2.303), 0.08, _shrinking),
            "ten layers at the default, next to the limit": _run(flat(2.303), 0.69, _shrinking),
            "tanh at a small scale": _run(flat(2.303), 0.2, _shrinking, feeds="tanh"),
            "a gradient next to the limit": _run(flat(2.303), 0.08, (4.9e-5, 1e-4, 5e-4, 1e-3, 5e-3)),
        }
    )
    good = Examples(
        lambda: {
            "a sound start, before training": checked(_run(flat(2.303, 5), 1.0)),
            "experiments at the end of a run that learns well": checked(_run(falling(90.0, 0.1), 8.0, signal=_growing)),
            "a sound scale": _run(flat(2.31), 1.4),
            "large, and learns well": _run(falling(200.0, 0.4), 8.0, signal=_growing),
            "large, with a factor just below the limit": _run(flat(300.0), 2.9, signal=_growing),
            "large, and the signal keeps its size": _run(flat(2.4), 5.0, signal=(1.0, 2.0, 3.0, 5.0, 9.7)),
            "large, with a first loss just below the limit": _run([6.7, *flat(2.31)], 5.0),
            "just below what no recipe gives, and learns": _run(falling(90.0, 1.5), 4.9, signal=_growing),
            "one layer just below that": _one(
                _run([2.6, 40.0, *flat(0.8)], 1.0, signal=(1.0, 1.0, 10.3, 4.0, 3.0)), 9.7
            ),
            "one layer, and the signal keeps its size": _one(_run([2.6, 40.0, *flat(0.8)], 1.0), 10.5),
            "a recurrent network just below that": _recurrent(_run(flat(2.31), 4.9)),
            "large, saturated just below the limit": _run(flat(2.31), 8.0, feeds="tanh", saturated=0.49),
            "normalized": _run(flat(2.31), 0.08, _shrinking, norm=True),
            "just above the limit for small ones": _run(flat(2.303), 0.73, _shrinking),
            "small, and the gradient arrives": _run(flat(2.303), 0.08, (5.2e-5, 1e-4, 5e-4, 1e-3, 5e-3)),
            "sigmoids, which shrink it at any scale": _run(flat(2.303), 0.08, _shrinking, feeds="sigmoid"),
            "small, and the rate is nearly 0": _run(flat(2.303), 0.3, _shrinking, updates=1e-7),
            "small, and thrown about": _run([2.3, 40.0, *flat(2.5)], 0.5, _shrinking),
            "too short to say": _run(flat(2.3, 12), 0.08, _shrinking),
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
        model = nn.Sequential(
            nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        )
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=1.0)  # fix: nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _fails_validation(seen: History, progress: Progress) -> bool:
    """Whether what it learned is of no use on other data: a large start makes each sample a case of its own."""
    sides = losses_of(seen)
    return sides is not None and float(np.median(sides.validation[-3:])) >= FAILED * progress.reference


def _is_recurrent(seen: History, chain: Chain) -> bool:
    return any(seen.layers[layer].kind in RECURRENT for layer in chain.layers)


def _grown(seen: History, chain: Chain, before: int, after: int) -> Evidence:
    """The signal at two layers."""
    here, there = (seen.layers[chain.layers[i]].name for i in (after, before))
    return Evidence(
        f"size (rms) of the output of `{here}` / of `{there}`, at the start",
        f"{chain.signal[after]:.3g} / {chain.signal[before]:.3g} = {chain.signal[after] / chain.signal[before]:.3g}",
        "0.1 to 2",
        "sampled",
        _plot(chain.signal, "size (rms) of each layer's output, input to output"),
    )


def _wanted(chain: Chain) -> float:
    """The factor at which a signal keeps its size: ReLU halves the mean square."""
    return 1.41 if sum(feeds in RECTIFIED for feeds in chain.feeds[:-1]) * 2 >= len(chain.feeds) - 1 else 1.0


def _plot(values: Numbers, label: str) -> Plot:
    kept = np.isfinite(values)
    last = float(values[kept][-1]) if kept.any() else 1.0
    return Plot(
        tuple(map(float, np.flatnonzero(kept))),
        tuple(map(float, values[kept])),
        label,
        (last / 20, last * 20),
        log=True,
    )


def _draw(wanted: float) -> Fix:
    """How to draw the weights."""
    line = (
        "nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')"
        if wanted > 1
        else "nn.init.xavier_uniform_(layer.weight)"
    )
    lines = ("for layer in model.modules():", "    if isinstance(layer, (nn.Linear, nn.Conv2d)):", f"        {line}")
    return Fix(f"Draw the weights at the scale that keeps a signal's size:\n{code(*lines)}")
