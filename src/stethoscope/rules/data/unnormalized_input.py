"""Inputs on a scale that the first layer is not made for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import StandardizeInputs
from stethoscope.facts.data import Data
from stethoscope.facts.progress import Progress, progress_of
from stethoscope.facts.training import History, Inputs, Layer
from stethoscope.rules.columns import of_numbers, one_set
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome
from stethoscope.rules.sites import code, place_at
from stethoscope.rules.tabular import unequal_scales

NORMALIZING = (
    "BatchNorm", "LazyBatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm", "SyncBatchNorm",
    "Normalization", "Rescaling", "UnitNorm",
)  # fmt: skip
PASSING = ("Identity", "Flatten", "Unflatten", "Reshape", "Dropout", "SpatialDropout")
"""Layers that leave the scale as it is."""
BOUNDED = ("LSTM", "GRU", "RNN", "SimpleRNN")
"""Layers whose outputs never leave -1 to 1."""
SCALED_ON_THE_WAY = 0.05
"""A first output this far below what such an input must give means that the model scales the input itself."""


_table = Inputs(
    shape=(32, 6), dtype="float32", looks=20, rows=640, mean=40.0, std=300.0, smallest=0.0, largest=4000.0,
    feature_means=np.array([1.0, 2.0, 5.0, 80.0, 600.0, 0.1]),
    feature_stds=np.array([0.5, 1.0, 2.0, 30.0, 900.0, 0.01]), first_layer="Linear",
)  # fmt: skip
_small = replace(_table, mean=0.5, std=4.0, largest=150.0)
_bytes = replace(
    _table, mean=33.0, std=79.0, largest=255.0, feature_means=np.array([33.0]), feature_stds=np.array([79.0])
)


_counts = replace(_bytes, mean=3.0, std=4.1)
_volts = replace(
    _bytes, mean=0.0, std=0.005, smallest=-0.0199, largest=0.01, feature_means=np.zeros(1), feature_stds=np.ones(1)
)
_lstm = Layer("0", "LSTM", order=0, parameters=(0,))


class UnnormalizedInput(Rule):
    """Features reach the network on very different or very large scales.

    ## What it sees
    Mean and spread of each feature (each channel, for images) of what was fed to the model, as the model got it: the
    spread of the widest feature beside that of the middle one, and the size of all values.
    ## Why it hurts
    Initializations assume inputs of about unit size. A feature that is a thousand times wider than the others drives
    every unit of the first layer, and its gradient is a thousand times larger: a rate that suits it is too small for
    all others, and one that suits the others throws the weights away.
    ## How to fix it
    Subtract the mean of each feature and divide by its standard deviation, both taken from the training set. For
    images, divide by 255 first.
    ## When it is not a fault
    Integer inputs of an embedding; a model whose first layer normalizes, or that scales the input itself. A run that
    learns well gets a note only. Tiny inputs are reported only where nothing is learned.
    ## Sources
    Y. LeCun, L. Bottou, G. Orr and K.-R. Mueller, "Efficient BackProp", 1998, section 4.3.
    """

    severity = Severity.ERROR
    explains = (
        "collapsed-predictions",
        "dying-relu",
        "exploding-gradients",
        "learning-rate-too-high",
        "learning-rate-too-low",
        "loss-not-at-chance",
        "loss-not-finite",
        "numerical-instability",
        "vanishing-gradients",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "loss-oscillating",
        "loss-spike",
        "too-few-epochs",
        "saturated-activations",
        "no-gain-over-baseline",
        "badly-scaled-initialization",
        "frozen-parameters",
        "momentum-too-high",
        "unclipped-gradients",
    )
    reads = ("losses", "batches", "activations")
    treatments = (StandardizeInputs(),)

    spread = Limit(
        100,
        unit="widest feature / middle feature",
        why="standardized features show 1 to 1.6, raw pixels 2; raw tables that stop training 300 to 8000",
    )
    size = Limit(
        20, unit="rms of the values", why="standardized inputs have 1, digits counted from 0 to 16 have 8, bytes 100"
    )
    suspect = Limit(
        5, unit="rms of the values", why="digits counted from 0 to 16 have 8: rectifiers cope with it, tanh may not"
    )
    smallest = Limit(
        0.02, unit="largest absolute value", why="text weights and flattened tables reach 0.1 and more, volts 1e-5"
    )
    learned = Limit(
        0.7, unit="share of the way to 0", why="raw tables end at 0.2 to 0.6 where scaled ones reach 0.9 and more"
    )
    fewest_rows = Limit(32, unit="rows", why="the spread of a feature from fewer rows is off by a fifth and more")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the inputs of each model."""
        judged = [inputs for inputs in seen.inputs if inputs.dtype.startswith(("float", "bfloat"))]
        if not judged:
            yield self.cannot_tell("no input of floating-point values was seen")
        progress = progress_of(seen)
        for inputs in judged:
            if inputs.rows < self.fewest_rows and inputs.feature_stds.size:
                yield self.cannot_tell("too few rows of input were looked at")
                continue
            spread, rms = _spread(inputs), float(np.hypot(inputs.mean, inputs.std))
            is_tiny = progress.is_stuck and 0 < max(abs(inputs.smallest), abs(inputs.largest)) <= self.smallest
            is_odd = spread >= self.spread or rms >= self.size or is_tiny
            is_suspect = progress.is_stuck and rms >= self.suspect
            if (is_odd or is_suspect) and not _is_tamed(seen, inputs, rms):
                finding = self._report(seen, progress, inputs, spread, rms)
                # Most networks cope with such values: only an experiment shows that this one does not.
                yield finding if is_odd else replace(finding, severity=Severity.WARNING, sureness=Sureness.POSSIBLE)

    def in_data(self, seen: Data) -> Iterator[Finding | CannotTell]:
        """Compare the spreads of the columns as they are stored."""
        if not seen.train.profile.rows:
            return
        found = unequal_scales(self, seen, self.spread)
        if found is not None:
            yield found

    def _report(self, seen: History, progress: Progress, inputs: Inputs, spread: float, rms: float) -> Finding:
        first = _first(seen, inputs)
        wide = spread >= self.spread
        title = f"the widest input feature is {spread:,.0f} times as wide as the middle one"
        severity = Severity.WARNING
        if progress.is_stuck:
            severity = Severity.ERROR
        elif not progress.known or (progress.learns_well and not progress.gain < self.learned):
            severity = Severity.NOTE
        evidence = []
        if wide:
            evidence.append(
                Evidence(
                    f"spread of the widest of {inputs.feature_stds.size:,} features / of the middle one",
                    f"{inputs.feature_stds.max():.3g} / {inputs.feature_stds.max() / spread:.3g} = {spread:,.0f}",
                    "1 to 2",
                    f"{inputs.rows:,} rows",
                )
            )
        evidence.append(Evidence("size (rms) of the input values", f"{rms:.3g}", "about 1", "sampled"))
        evidence.append(
            Evidence("range of the input values", f"{inputs.smallest:.3g} to {inputs.largest:.3g}", "about -3 to 3")
        )
        if progress.known or progress.ended_nonfinite:
            evidence.append(loss_evidence(seen, progress))
        return self.finding(
            title if wide else f"input values have a size of {rms:.3g}, healthy is about 1",
            severity=severity,
            place=place_at(
                seen.models[inputs.model].call_site if inputs.model < len(seen.models) else None,
                steps=(0, max(seen.steps - 1, 0)),
                module=first.name if first else None,
            ),
            evidence=evidence,
            cause=_cause(progress, wide, rms),
            fixes=_fixes(inputs),
            unless="the model scales its input itself.",
        )

    bad = Examples(
        lambda: {
            "columns of a file": one_set(
                of_numbers("a", range(20)), of_numbers("b", range(20)), of_numbers("c", [200 * i for i in range(20)])
            ),
            "a raw table, and a stuck loss": replace(run(flat(0.66), chance=0.66), inputs=(_table,)),
            "a raw table beside the indices of an embedding": replace(
                run(flat(2.3)),
                inputs=(Inputs(dtype="int64"), replace(_table, beside=True, first_layer="")),
                layers=(Layer("0", "Embedding", order=0, fed_input=True), Layer("1", "Linear", order=1)),
            ),
            "a raw table that is learned all the same": replace(run(falling(2.3, 0.1)), inputs=(_table,)),
            "a spread next to the limit": replace(
                run(flat(2.3)), inputs=(replace(_small, feature_stds=np.array([0.5, 1.0, 2.0, 1.0, 102.0, 0.01])),)
            ),
            "a size just below the limit, and a stuck loss": replace(
                run(flat(2.3)), inputs=(replace(_bytes, mean=0.0, std=19.6),)
            ),
            "a size next to the limit": replace(run(flat(2.3)), inputs=(replace(_bytes, mean=0.0, std=20.4),)),
            "bytes": replace(run(falling(2.3, 1.9)), inputs=(_bytes,)),
            "not quite learned": replace(run(falling(2.3, 0.66)), inputs=(_table,)),
            "just learned": replace(run(falling(2.3, 0.62)), inputs=(_table,)),
            "volts next to the limit": replace(run(flat(2.3)), inputs=(_volts,)),
            "prices into an LSTM": replace(run(flat(2.3)), inputs=(_bytes,), layers=(replace(_lstm, fed_input=True),)),
            "digits from 0 to 16, and a stuck loss": replace(run(flat(2.3)), inputs=(_counts,)),
            "33 rows": replace(run(flat(2.3)), inputs=(replace(_table, rows=33),)),
        }
    )
    good = Examples(
        lambda: {
            "columns of one scale": one_set(of_numbers("a", range(20)), of_numbers("b", [9 * i for i in range(20)])),
            "standardized": replace(
                run(flat(2.3)), inputs=(replace(_table, mean=0.0, std=1.0, feature_stds=np.ones(6)),)
            ),
            "a first layer that normalizes": replace(
                run(flat(2.3)),
                inputs=(replace(_table, first_layer="BatchNorm1d"),),
                layers=(Layer("0", "BatchNorm1d", order=0), Layer("1", "Linear", order=1)),
            ),
            "a normalization of the table beside the indices of an embedding": replace(
                run(flat(2.3)),
                inputs=(Inputs(dtype="int64"), replace(_table, beside=True, first_layer="")),
                layers=(Layer("0", "Embedding", order=0, fed_input=True), Layer("1", "BatchNorm1d", order=1)),
            ),
            "a spread just below the limit": replace(
                run(flat(2.3)), inputs=(replace(_small, feature_stds=np.array([0.5, 1.0, 2.0, 1.0, 98.0, 0.01])),)
            ),
            "a size just below the limit": replace(run(flat(2.3)), inputs=(replace(_bytes, mean=0.0, std=4.9),)),
            "small values just above the limit": replace(run(flat(2.3)), inputs=(replace(_volts, smallest=-0.0201),)),
            "tiny values that are learned": replace(run(falling(2.3, 1.9)), inputs=(_volts,)),
            "prices that may be scaled before the LSTM": replace(run(flat(2.3)), inputs=(_bytes,), layers=(_lstm,)),
            "digits from 0 to 16, learned a little": replace(run(falling(2.3, 1.9)), inputs=(_counts,)),
            "31 rows": replace(run(flat(2.3)), inputs=(replace(_table, rows=31),)),
            "indices of an embedding": replace(run(flat(2.3)), inputs=(replace(_table, dtype="int64"),)),
            "constant features beside standardized ones": replace(
                run(flat(2.3)),
                inputs=(replace(_small, feature_stds=np.array([1.0, 1.0, 1e-9, 1e-9, 0.0, 0.0]), std=1.0),),
            ),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_breast_cancer
        from torch import nn

        torch.manual_seed(SEED)
        data = load_breast_cancer()
        features = torch.tensor(data.data, dtype=torch.float32)
        # add: features = (features - features.mean(0)) / features.std(0)
        labels = torch.tensor(data.target)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(features, labels), batch_size=32, shuffle=True
        )
        model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

        for epoch in range(12):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(features), labels).item():.4f}")
        """)


def _spread(inputs: Inputs) -> float:
    """Spread of the widest feature, in that of the middle one; features that never vary are left out."""
    stds = inputs.feature_stds
    varying = stds[stds > 1e-6 * np.maximum(1.0, np.abs(inputs.feature_means[: stds.size]))] if stds.size else stds
    middle = np.sort(varying)[(varying.size - 1) // 2] if varying.size else 1.0  # the narrower one of two
    return float(varying.max() / middle) if varying.size > 1 else 1.0


def _first(seen: History, inputs: Inputs) -> Layer | None:
    """The first layer of the model that can change the input's scale."""
    called = [
        layer
        for layer in seen.layers
        if layer.model == inputs.model
        and layer.order >= 0
        and not layer.kind.startswith((*PASSING, "Embedding") if inputs.beside else PASSING)
    ]
    return min(called, key=lambda layer: layer.order, default=None)


def _is_tamed(seen: History, inputs: Inputs, rms: float) -> bool:
    """Whether the input is brought to scale inside the model, by a layer or by plain arithmetic."""
    first = _first(seen, inputs)
    if inputs.first_layer.startswith(NORMALIZING) or (first is not None and first.kind.startswith(NORMALIZING)):
        return True
    if first is None or first.fed_input or not first.parameters or not seen.telemetry.steps.size:
        return False
    if first.kind.startswith(BOUNDED):  # its outputs do not tell what was fed to it
        return True
    parameter = seen.parameters[first.parameters[0]]
    if len(parameter.shape) < 2:
        return False
    # Random weights of rms w on an input of rms x give outputs of rms w * x * sqrt(inputs of a unit).
    weight = float(seen.telemetry.parameter("weight_rms")[0, first.parameters[0]])
    expected = weight * rms * float(np.prod(parameter.shape[1:])) ** 0.5
    output = float(seen.telemetry.layer("rms")[0, seen.layers.index(first)])
    return bool(output < SCALED_ON_THE_WAY * expected)


def _cause(progress: Progress, wide: bool, rms: float) -> str:
    if not wide and rms < 1:
        return f"Next to its bias the first layer hardly feels such small values; the loss {outcome(progress)}."
    what = "A few wide features drive every unit" if wide else "Such values drive every unit far from 0"
    if progress.learns_well:
        return f"{what} of the first layer; the run learns all the same, though not from the narrow features at first."
    if not progress.known and not progress.ended_nonfinite:
        return f"{what} of the first layer and make its gradients large."
    return f"{what} of the first layer and make its gradients large; the loss {outcome(progress)}."


def _fixes(inputs: Inputs) -> list[Fix]:
    images = len(inputs.shape) == 4
    if images and inputs.smallest >= 0 and inputs.largest <= 255:
        return [Fix(f"Bring bytes to 0..1 where the data is loaded:\n{code('images = images / 255')}")]
    axes = "dim=(0, 2, 3), keepdim=True" if images else "dim=0"
    lines = code(
        f"mean, std = x_train.mean({axes}), x_train.std({axes})",
        "x_train = (x_train - mean) / std.clamp(min=1e-8)",
        "x_test = (x_test - mean) / std.clamp(min=1e-8)",
    )
    return [Fix(f"Standardize with the numbers of the training set:\n{lines}")]
