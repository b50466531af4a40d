"""Small networks trained for real in numpy: the pictures are drawn from numbers that training makes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from stethoscope.facts.code import Site
from stethoscope.facts.model import Experiment, Part, Preflight, Structure
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import (
    LAYER_STATISTICS,
    PARAMETER_STATISTICS,
    Curve,
    History,
    Layer,
    Loop,
    LoopEvent,
    LossCall,
    Model,
    Optimizer,
    Parameter,
    Sampling,
    Telemetry,
)

CLASSES = 10
FEATURES = 16


@dataclass
class Net:
    """Linear layers with an activation between them, softmax cross-entropy, plain gradient descent."""

    depth: int
    width: int = 24
    activation: str = "relu"
    weight_scale: float = 1.4
    seed: int = 0
    weights: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        sizes = [FEATURES, *[self.width] * (self.depth - 1), CLASSES]
        self.weights = [
            rng.normal(0, self.weight_scale / np.sqrt(rows), (rows, columns)) for rows, columns in pairwise(sizes)
        ]

    def forward(self, x: np.ndarray) -> list[np.ndarray]:
        """Outputs of every layer: linear, activation, linear, ..., linear."""
        outputs = [x]
        for index, weight in enumerate(self.weights):
            outputs.append(outputs[-1] @ weight)
            if index < self.depth - 1:
                z = outputs[-1]
                outputs.append(np.maximum(z, 0) if self.activation == "relu" else 1 / (1 + np.exp(-z)))
        return outputs

    def gradients(self, outputs: list[np.ndarray], labels: np.ndarray) -> tuple[float, list, list]:
        """Loss, gradient of each weight, gradient of each layer's output."""
        scores = outputs[-1] - outputs[-1].max(1, keepdims=True)
        chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        rows = np.arange(len(labels))
        loss = float(-np.log(chances[rows, labels] + 1e-300).mean())
        chances[rows, labels] -= 1
        flow = chances / len(labels)
        of_outputs, of_weights = [], []
        for index in reversed(range(self.depth)):
            of_outputs.append(flow)
            below = outputs[2 * index]
            of_weights.append(below.T @ flow)
            flow = flow @ self.weights[index].T
            if index:
                of_outputs.append(flow)
                slope = (below > 0) if self.activation == "relu" else below * (1 - below)
                flow = flow * slope
        return loss, of_weights[::-1], of_outputs[::-1]


def statistics_of(output: np.ndarray, gradient: np.ndarray) -> list[float]:
    """One row of `LAYER_STATISTICS`."""
    return [
        output.mean(), output.std(), np.sqrt((output**2).mean()), np.abs(output).max(), (output == 0).mean(),
        (~np.isfinite(output)).mean(), np.nan, np.sqrt((gradient**2).mean()), (gradient == 0).mean(),
        (~np.isfinite(gradient)).mean(),
    ]  # fmt: skip


def parameter_row(weight: np.ndarray, gradient: np.ndarray, rate: float) -> list[float]:
    """One row of `PARAMETER_STATISTICS`."""
    size, slope = np.sqrt((weight**2).mean()), np.sqrt((gradient**2).mean())
    return [
        size, slope, np.abs(gradient).max(), (gradient == 0).mean(), (~np.isfinite(gradient)).mean(),
        rate * slope, rate * slope / size, rate * (gradient**2).sum(),
    ]  # fmt: skip


@lru_cache
def trained(
    depth: int = 6,
    steps: int = 400,
    activation: str = "relu",
    rate: float = 0.1,
    scale: float = 1.4,
    nan_at: int = -1,
) -> History:
    """The history of a real training on ten noisy clusters; from `nan_at` on, a batch holds a NaN."""
    rng = np.random.default_rng(7)
    centres = rng.normal(0, 1.2, (CLASSES, FEATURES))
    net = Net(depth, activation=activation, weight_scale=scale)
    looks = sorted(
        {
            *range(20),
            *range(0, steps, max(1, steps // 180)),
            *(range(nan_at, nan_at + 20) if nan_at > 0 else ()),
        }
    )
    losses, norms, validation, layer_rows, parameter_rows = [], [], [], [], []
    with np.errstate(all="ignore"):
        for step in range(steps):
            labels = rng.integers(0, CLASSES, 32)
            x = centres[labels] + rng.normal(0, 1.0, (32, FEATURES))
            if step == nan_at:
                x[3, 5] = np.nan
            outputs = net.forward(x)
            loss, slopes, flows = net.gradients(outputs, labels)
            losses.append(loss)
            norms.append(float(np.sqrt(sum((slope**2).sum() for slope in slopes))))
            if step in looks:
                layer_rows.append([statistics_of(o, g) for o, g in zip(outputs[1:], flows, strict=True)])
                parameter_rows.append([parameter_row(w, g, rate) for w, g in zip(net.weights, slopes, strict=True)])
            for weight, slope in zip(net.weights, slopes, strict=True):
                weight -= rate * slope
            if step % 50 == 49:
                seen = centres[labels] + rng.normal(0, 1.0, (32, FEATURES))
                validation.append((step, net.gradients(net.forward(seen), labels)[0]))
    return _history(net, steps, rate, looks, losses, norms, validation, layer_rows, parameter_rows)


def _history(net, steps, rate, looks, losses, norms, validation, layer_rows, parameter_rows) -> History:  # type: ignore[no-untyped-def]
    kinds = ["Linear", "ReLU" if net.activation == "relu" else "Sigmoid"] * net.depth
    layers = tuple(
        Layer(
            f"net.{index}", kinds[index], order=index, output_shape=(32, net.width),
            parameters=(index // 2,) if index % 2 == 0 else (),
        )
        for index in range(2 * net.depth - 1)
    )  # fmt: skip
    parameters = tuple(
        Parameter(f"net.{2 * index}.weight", weight.shape[::-1], layer=2 * index, optimizer=0)
        for index, weight in enumerate(net.weights)
    )
    every = np.arange(steps)
    site = Site("train.py", 31, "main", "loss = F.cross_entropy(model(images), labels)")
    curves = (
        Curve("training loss", "loss", "training", every, np.array(losses), site),
        Curve(
            "validation loss",
            "loss",
            "validation",
            *(np.array(column) for column in zip(*validation, strict=True)),
        ),
        Curve("learning rate", "learning rate", "training", every, np.full(steps, rate)),
        Curve("gradient norm", "norm", "training", every, np.array(norms)),
    )
    count = sum(weight.size for weight in net.weights)
    return History(
        steps=steps,
        models=(Model("Net", "Net", count, count, optimized_share=1.0),),
        layers=layers,
        parameters=parameters,
        optimizers=(Optimizer("SGD", Site("train.py", 24), Site("train.py", 33), ({"lr": rate},)),),
        loop=observed_loop(),
        losses=(LossCall("cross_entropy", site, training_calls=steps, chance=float(np.log(CLASSES))),),
        curves=curves,
        telemetry=Telemetry(
            np.array(looks),
            np.array(layer_rows, np.float32).reshape(len(looks), -1, len(LAYER_STATISTICS)),
            np.array(parameter_rows, np.float32).reshape(len(looks), -1, len(PARAMETER_STATISTICS)),
        ),
        sampling=Sampling(
            looks=len(looks), burst_looks=20, steps=steps, look_seconds=0.0021, step_seconds=0.0064,
            guard_seconds=4e-6, estimated_cost=0.0083, opening_seconds=0.042,
        ),
    )  # fmt: skip


def observed_loop() -> Loop:
    """A loop whose gradients are never cleared."""
    calls = (
        ("forward", 30, "outputs = model(images)", "Net in train mode"),
        ("loss", 31, "loss = F.cross_entropy(outputs, labels)", "cross_entropy"),
        ("backward", 32, "loss.backward()", ""),
        ("step", 33, "optimizer.step()", "SGD"),
    )
    cycle = tuple(LoopEvent(what, Site("train.py", line, "main", text), detail) for what, line, text, detail in calls)
    return Loop(cycle, cycles_watched=64, backward_calls=400)


def healthy() -> History:
    """A run that learns."""
    loop = observed_loop()
    clear = LoopEvent("zero_grad", Site("train.py", 29, "main", "optimizer.zero_grad()"), "SGD")
    return replace(trained(), loop=replace(loop, cycle=(clear, *loop.cycle)))


def vanishing() -> History:
    """Twelve sigmoid layers: the gradient falls by orders of magnitude on its way down."""
    return trained(depth=12, activation="sigmoid", scale=1.0)


def turns_nan() -> History:
    """One NaN in the batch of step 230, and all weights with it."""
    return trained(nan_at=230)


def deep() -> History:
    """Sixty linear layers with ReLUs between them."""
    return trained(depth=60, steps=150, rate=0.01)


def typical() -> History:
    """Twenty layers, 2,000 steps, 200 looks: the size that the page is measured by."""
    return trained(depth=10, steps=2000, rate=0.05)


def checked() -> History:
    """The first steps of a run, and what was tried before them."""
    experiments = (
        Experiment("structure", "read the structure", "3 modules, 12,345 parameters, all trainable", seconds=0.01),
        Experiment("memory", "memorise 1 sample", "loss 2.3, still 2.2 after 300 steps", good=False, seconds=0.4),
        Experiment("gradients", "check the gradient", why_not="the model computes its loss in float32"),
    )
    parts = (
        Part("", "Net", 0, 1, ((8, 4),), ((8, 3),), "float32", "cpu", is_leaf=False),
        Part("<first>", "Linear", 1, 1, ((8, 4),), ((8, 3),), "float32", "cpu", (), 15, 0, 15, 60, 96),
        Part("spare", "Linear", parameters=12_330, dtype="float16", parameter_bytes=24_660),
    )
    tried = Preflight(is_check=True, experiments=experiments, structure=Structure(parts))
    return replace(healthy(), steps=16, preflight=tried)


def record() -> RunRecord:
    """What the run was."""
    return RunRecord(
        id="2026-11-21_1405_quiet-otter",
        started="2026-11-21T14:05:11+01:00",
        ended="2026-11-21T14:05:52+01:00",
        state="finished",
        exit_code=0,
        command=("train.py", "--epochs", "3"),
        script="train.py",
        directory="/home/ada/digits",
        git={"commit": "8c1f2d09ab4411", "branch": "main", "dirty": True, "diff": "-lr = 0.1\n+lr = 0.3\n"},
        python="3.11.9",
        packages={"torch": "2.13.0", "numpy": "2.4.1", "scikit-learn": "1.7.2", "rich": "15.0.0"},
        hardware={
            "system": "Linux 6.8",
            "processor": "x86_64",
            "cores": 8,
            "memory_gib": 31.2,
            "torch_threads": 4,
        },
        environment={"OMP_NUM_THREADS": "4"},
        seeds={"torch": 0},
        arguments={"epochs": 3, "lr": 0.1},
        optimizers=({"kind": "SGD", "lr": 0.1, "momentum": 0.0},),
        models=({"name": "Net", "parameters": 3024, "structure": "Net(\n  (net): Sequential(...)\n)"},),
        loaders=({"batch_size": 32, "shuffle": True, "workers": 0, "length": 45},),
        data_fingerprint="9f3ac1",
        results={"final training loss": 0.412, "best training loss": 0.287, "final validation loss": 0.503},
        steps=400,
        tool={"name": "stethoscope", "version": "0.1.0"},
    )
