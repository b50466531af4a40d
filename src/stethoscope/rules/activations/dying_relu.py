"""Rectified units that no sample activates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Kind, Plot, Severity
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import Reinitialize, ReviveUnits, ScaleLearningRate
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import History, Layer, Units
from stethoscope.facts.weights import middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome
from stethoscope.rules.sites import code, place_at


@dataclass(frozen=True)
class Silence:
    """A rectified layer at its last window with enough rows."""

    layer: Layer
    units: Units
    window: int
    """Index of that window."""
    share: float
    """Of its units that gave 0 for every row of the window, 0..1."""

    @property
    def since(self) -> int:
        """First window from which on as many units, within a tenth, were silent."""
        shares = self.units.silent[: self.window + 1] / max(1, self.units.num_units)
        livelier = np.flatnonzero(shares < 0.9 * self.share)
        return int(livelier[-1]) + 1 if livelier.size else 0


_layers = run(flat(2.31))
_lively = Units(1, 64, np.array([20, 90, 199]), np.array([1024, 1024, 800]), np.array([0, 3, 4]))
_dead = replace(_lively, silent=np.array([0, 60, 62]))


class DyingRelu(Rule):
    """Many units of a rectified layer are 0 for every sample.

    ## What it sees
    For each unit (a channel, in a convolution), whether any of about a thousand rows of training data made it
    positive, window after window. A unit that is silent for half of a batch is how ReLU works; one that is silent
    for all the data of a window is dead.
    ## Why it hurts
    A ReLU that gives 0 passes no gradient back, so a dead unit cannot come back to life by itself. When most units
    of a layer are dead, the rest of the network sees a constant.
    ## How to fix it
    Find what killed them: one too large update (lower the rate, clip, warm up), inputs on a large scale, or an
    initialization with a negative bias or mean. LeakyReLU or GELU keeps a gradient alive.
    ## When it is not a fault
    Networks learn well with many silent units, and some are sparse by design: then it is at most a note.
    ## Sources
    L. Lu, Y. Shin, Y. Su and G. Karniadakis, "Dying ReLU and Initialization", 2020. M. Wardat et al., DeepDiagnosis,
    ICSE 2022 (70 %, but of one batch: 58 of its 68 false alarms are this rule).
    """

    kind = Kind.SYMPTOM
    severity = Severity.ERROR
    explains = (
        "collapsed-predictions",
        "loss-not-decreasing",
        "attention-collapse",
        "underfitting",
        "too-few-epochs",
        "frozen-parameters",
        "no-gain-over-baseline",
    )
    reads = ("losses", "units")
    treatments = (ReviveUnits(), Reinitialize(), ScaleLearningRate(0.1))

    fewest_rows = Limit(
        250, unit="rows", why="a unit that fires for 1 % of the rows is missed in so many with a chance of 8 %"
    )
    most = Limit(
        0.7,
        unit="share of silent units, when the run does not learn",
        why="deep networks at PyTorch's initialization have up to 0.47 from the start, healthy runs up to 0.5, layers "
        "that a high rate killed 0.8 and more",
    )
    remarkable = Limit(
        0.9,
        unit="share of silent units, when the run learns well",
        why="the network works, at a tenth of its width: worth knowing, no more",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Report the layer nearest the input among those that are silent."""
        silences = [s for s in (self._silence(seen, units) for units in _distinct(seen)) if s is not None]
        if not silences:
            yield self.cannot_tell("no rectified layer was seen for enough rows")
            return
        progress = progress_of(seen)
        if not progress.known and not progress.ended_nonfinite:
            yield self.cannot_tell("the run was too short, or no loss was seen")
            return
        limit = self.remarkable if progress.learns_well else self.most
        dead = [silence for silence in silences if silence.share >= limit]
        if dead and not _all_is_nan(seen, progress):
            yield self._report(seen, progress, dead)

    def _silence(self, seen: History, units: Units) -> Silence | None:
        enough = np.flatnonzero(units.rows >= self.fewest_rows)
        if not enough.size or units.num_units == 0 or not 0 <= units.layer < len(seen.layers):
            return None
        window = int(enough[-1])
        return Silence(seen.layers[units.layer], units, window, float(units.silent[window] / units.num_units))

    def _report(self, seen: History, progress: Progress, dead: list[Silence]) -> Finding:
        first = min(dead, key=lambda silence: silence.layer.order)
        silent, units = int(first.units.silent[first.window]), first.units.num_units
        count = f"all {units}" if silent == units else f"{silent} of {units}"
        severity = Severity.WARNING
        if progress.is_stuck:
            severity = Severity.ERROR
        elif progress.learns_well:
            severity = Severity.NOTE
        began = int(first.units.window_ends[first.since - 1]) + 1 if first.since else 0
        name = first.layer.name or first.layer.kind
        title = f"{count} units of `{name}` give 0 for every sample"
        return self.finding(
            title if len(title) <= 72 else f"{count} units of a rectified layer give 0 for every sample",
            severity=severity,
            place=place_at(None, steps=(began, max(seen.steps - 1, began)), module=first.layer.name),
            evidence=[*self._evidence(first, dead), loss_evidence(seen, progress)],
            cause=_cause(seen, progress, first, began),
            fixes=_fixes(began),
            unless="the layer is meant to be sparse.",
        )

    def _evidence(self, first: Silence, dead: list[Silence]) -> list[Evidence]:
        units = first.units
        shares = units.silent / units.num_units
        plot = Plot(
            tuple(map(float, units.window_ends)), tuple(map(float, shares)), "share of silent units", (0.0, 0.5)
        )
        rows = int(units.rows[first.window])
        evidence = [
            Evidence(
                f"units of `{first.layer.name}` that were 0 for all {rows:,} rows looked at last",
                f"{int(units.silent[first.window])} of {units.num_units}",
                "less than half",
                "whole rows, every unit",
                plot,
            )
        ]
        if len(dead) > 1:
            evidence.append(Evidence("rectified layers in that state", len(dead), 0))
        return evidence

    bad = Examples(
        lambda: {
            "most units die between steps 20 and 90": replace(_layers, units=(_dead,)),
            "a share next to the limit": replace(_layers, units=(replace(_lively, silent=np.array([46, 46, 46])),)),
            "a whole layer, from the start": replace(_layers, units=(replace(_lively, silent=np.array([64, 64, 64])),)),
            "255 rows in the last window": replace(
                _layers, units=(replace(_dead, rows=np.array([255, 255, 255]), silent=np.array([0, 0, 64])),)
            ),
            "nearly all, in a run that learns": replace(run(falling(2.3, 0.1)), units=(_dead,)),
            "a note next to the limit": replace(
                run(falling(2.3, 0.1)), units=(replace(_lively, silent=np.array([0, 58, 58])),)
            ),
            "two layers": replace(_layers, units=(replace(_dead, layer=2), _dead)),
        }
    )
    good = Examples(
        lambda: {
            "a few silent units": replace(_layers, units=(_lively,)),
            "a share just below the limit": replace(_layers, units=(replace(_lively, silent=np.array([44, 44, 44])),)),
            "sparse, and learning well": replace(
                run(falling(2.3, 0.1)), units=(replace(_lively, silent=np.array([40, 50, 57])),)
            ),
            "silent in 245 rows only": replace(_layers, units=(replace(_dead, rows=np.array([245, 245, 245])),)),
            "too short to say": replace(run(flat(2.31, 12)), units=(_dead,)),
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
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, -0.1, 0.1)  # fix: nn.init.normal_(layer.weight, 0.0, 0.1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _distinct(seen: History) -> list[Units]:
    """One entry for each rectified layer: `Linear` and the `ReLU` module right after it show the same units."""
    modules = {
        (seen.layers[u.layer].model, seen.layers[u.layer].order)
        for u in seen.units
        if 0 <= u.layer < len(seen.layers) and "ReLU" in seen.layers[u.layer].kind
    }
    return [
        units
        for units in seen.units
        if 0 <= units.layer < len(seen.layers)
        and (seen.layers[units.layer].model, seen.layers[units.layer].order + 1) not in modules
    ]


def _all_is_nan(seen: History, progress: Progress) -> bool:
    """Whether the network is broken as a whole: NaN is not above 0 either, so every unit looks silent."""
    if not progress.ended_nonfinite or not seen.telemetry.steps.size:
        return False
    weights = seen.telemetry.parameter("weight_rms")[-1]
    return not bool(np.isfinite(weights).any())


def _cause(seen: History, progress: Progress, first: Silence, began: int) -> str:
    """What preceded the silence."""
    state = "the network learns in spite of it" if progress.learns_well else f"the loss {outcome(progress)}"
    if not first.since:
        return (
            "They were silent from the first steps on, so initialization, biases or the input's scale keep them "
            f"below 0; {state}."
        )
    ends = first.units.window_ends
    before = int(ends[first.since - 2]) + 1 if first.since > 1 else 0
    ratios = update_ratios(seen, weights_by_depth(seen))
    steps = seen.telemetry.steps
    during = (steps >= before) & (steps <= int(ends[first.since]))
    largest = float(np.nanmax(middle(ratios[during], axis=1), initial=0.0)) if during.any() and ratios.size else 0.0
    if largest > 0.02:
        return (
            f"They fell silent between steps {began} and {int(ends[first.since])}, where a single step moved the "
            f"weights by up to {largest:.2g} of their size (healthy: 0.01); {state}."
        )
    return (
        f"They fell silent between steps {began} and {int(ends[first.since])}: their inputs drifted below 0 for "
        f"every sample; {state}."
    )


def _fixes(began: int) -> list[Fix]:
    leaky = code("nn.LeakyReLU(0.01)   # was nn.ReLU()")
    alive = Fix(f"Let a small gradient through, so that units come back:\n{leaky}")
    if began == 0:
        return [
            Fix(
                "Start the layer before it with weights of mean 0 and biases of 0:\n"
                + code("nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')", "nn.init.zeros_(layer.bias)")
            ),
            alive,
        ]
    return [
        Fix(
            "Lower the learning rate, or clip before `optimizer.step()`:\n"
            + code("torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)")
        ),
        alive,
    ]
