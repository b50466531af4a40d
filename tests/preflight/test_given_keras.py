"""Keras models that are handed over: losses, arrays, compiled models and data sets are taken as they are meant."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

os.environ.setdefault("KERAS_BACKEND", "torch")
keras: Any = pytest.importorskip("keras")

import stethoscope  # noqa: E402
from stethoscope.core.errors import UsageError  # noqa: E402
from stethoscope.observe.preflight import given_keras as module  # noqa: E402
from stethoscope.observe.preflight.battery import examine  # noqa: E402
from stethoscope.observe.preflight.given_keras import GivenKeras, given_keras  # noqa: E402

layers, losses = keras.layers, keras.losses
pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="Keras runs on another backend here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(96, 6)).astype("float32")
Y = (X @ DRAW.normal(size=(6, 3))).argmax(1)
HOT = np.eye(3, dtype="float32")[Y]
REAL = X[:, :1] * 2 + 0.1
BOTH = (Y > 0).astype("int64")
TX, TY = torch.tensor(X), torch.tensor(Y)
LOGITS = losses.SparseCategoricalCrossentropy(from_logits=True)
LEFT_OUT = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
SHARES = losses.sparse_categorical_crossentropy


def net(outputs: int = 3, activation: str | None = None) -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,)), layers.Dense(16, "tanh"), layers.Dense(outputs, activation)])


def compiled(loss: Any, outputs: int = 3, activation: str | None = None, optimizer: Any = "adam", **more: Any) -> Any:
    model = net(outputs, activation)
    model.compile(optimizer, loss, **more)
    return model


def unbuilt() -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Dense(16, "tanh"), layers.Dense(3)])


class TwoInputs(keras.Model):  # type: ignore[misc]
    """A model whose call takes its inputs one by one, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = layers.Dense(16, "tanh"), layers.Dense(3)

    def call(self, left: Any, right: Any) -> Any:
        """Scores of samples."""
        return self.last(self.first(left) + self.first(right))


def two_inputs() -> Any:
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    return keras.Model([left, right], layers.Dense(3)(layers.concatenate([layers.Dense(8, "tanh")(left), right])))


def two_outputs() -> Any:
    given = keras.Input((6,))
    hidden = layers.Dense(16, "tanh")(given)
    model = keras.Model(given, {"kind": layers.Dense(3)(hidden), "size": layers.Dense(1)(hidden)})
    model.compile("adam", {"kind": LOGITS, "size": "mse"}, loss_weights={"kind": 1.0, "size": 0.5})
    return model


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """A data set of Keras's."""

    def __init__(self, parts: int = 2) -> None:
        super().__init__()
        self.parts = parts

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> Any:
        rows = slice(32 * number, 32 * number + 32)
        return (X[rows], Y[rows], np.ones(32))[: self.parts]


def batches() -> Iterator[Any]:
    while True:
        yield X[:32], Y[:32]


def truth_first(y_true: Any, y_pred: Any) -> Any:
    return F.cross_entropy(y_pred, y_true)


def truth_second(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(output, target)


CASES: dict[str, tuple[Callable[[], Any], Any, Any, int, str]] = {
    "an object of Keras's": (net, LOGITS, (X, Y), 3, "cross_entropy"),
    "a function of Keras's": (lambda: net(3, "softmax"), SHARES, (X, Y), 3, "cross_entropy"),
    "a name": (lambda: net(3, "softmax"), "sparse_categorical_crossentropy", (X, Y), 3, "cross_entropy"),
    "one-hot targets": (lambda: net(3, "softmax"), "categorical_crossentropy", (X, HOT), 3, "cross_entropy"),
    "smoothed": (net, losses.CategoricalCrossentropy(True, label_smoothing=0.1), (X, HOT), 3, "cross_entropy"),
    "two classes": (lambda: net(1, "sigmoid"), "binary_crossentropy", (X, BOTH), 3, "binary_cross_entropy_with_logits"),
    "two classes, scores": (
        lambda: net(1), losses.BinaryCrossentropy(from_logits=True), (X, BOTH), 3, "binary_cross_entropy_with_logits",
    ),
    "squares": (lambda: net(1), "mse", (X, REAL), 3, "mse_loss"),
    "squares of flat targets": (lambda: net(1), "mse", (X, REAL[:, 0]), 3, "mse_loss"),
    "differences": (lambda: net(1), losses.MeanAbsoluteError(), (X, REAL), 3, "l1_loss"),
    "Huber": (lambda: net(1), losses.Huber(delta=0.5), (X, REAL), 3, "huber_loss"),
    "a sum": (lambda: net(1), losses.MeanSquaredError(reduction="sum"), (X, REAL), 3, "mse_loss"),
    "one for each sample": (lambda: net(1), losses.MeanSquaredError(reduction=None), (X, REAL), 3, "mse_loss"),
    "one that torch lacks": (lambda: net(1), losses.LogCosh(), (X, REAL), 3, "a loss of Keras's"),
    "a class left out": (net, LEFT_OUT, (X, Y), 3, "a loss of Keras's"),
    "torch's": (net, nn.CrossEntropyLoss(), (TX, TY), 1, "cross_entropy"),
    "one's own, target first": (net, truth_first, (TX, TY), 1, "the loss given"),
    "one's own, output first": (net, truth_second, (TX, TY), 1, "the loss given"),
    "of compile": (lambda: compiled(LOGITS), None, (X, Y), 3, "cross_entropy"),
    "one's own, of compile": (lambda: compiled(lambda a, b: F.cross_entropy(b, a)), None, (X, Y), 3, "the loss given"),
    "several, of compile": (two_outputs, None, (X, {"kind": Y, "size": REAL}), 3, "the loss given"),
    "a list of batches": (net, LOGITS, [(X[:32], Y[:32])] * 2, 2, "cross_entropy"),
    "a generator": (net, LOGITS, batches(), 64, "cross_entropy"),
    "a PyDataset": (net, LOGITS, Batches(), 3, "cross_entropy"),
    "real numbers of double precision": (net, LOGITS, (X.astype("float64"), Y), 3, "cross_entropy"),
    "fewer rows than a batch": (net, LOGITS, (X[:5], Y[:5]), 1, "cross_entropy"),
    "inputs that are the targets": (lambda: net(6), "mse", X, 3, "mse_loss"),
    "a mapping": (net, LOGITS, {"x": X, "labels": Y}, 3, "cross_entropy"),
    "two inputs": (two_inputs, LOGITS, ((X[:, :3], X[:, 3:]), Y), 3, "cross_entropy"),
    "two inputs, flat": (two_inputs, LOGITS, (X[:, :3], X[:, 3:], Y), 3, "cross_entropy"),
    "two inputs by name": (two_inputs, LOGITS, {"left": X[:, :3], "right": X[:, 3:], "labels": Y}, 3, "cross_entropy"),
    "two arguments": (TwoInputs, LOGITS, (X[:, :3], X[:, 3:], Y), 3, "cross_entropy"),
    "two arguments by name": (TwoInputs, LOGITS, {"left": X[:, :3], "right": X[:, 3:], "y": Y}, 3, "cross_entropy"),
    "no weights so far": (unbuilt, LOGITS, (X, Y), 3, "cross_entropy"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_taken_on_each_batch_and_experiments_can_be_made(name: str) -> None:
    make, loss, data, count, function = CASES[name]
    model = make()
    given = given_keras(model, loss, data, None)
    assert len(given.batches) == count
    before = [np.array(variable) for variable in model.variables]
    given.rehearse()
    assert all(np.array_equal(one, np.array(other)) for one, other in zip(before, model.variables, strict=True))
    subject = given.subject()
    assert subject.first.function == function
    made = examine(subject, "quick", seconds=1.0)
    assert not [e for e in made.experiments if e.why_not.startswith("it failed")]
    assert made.start is not None


REFUSED: dict[str, tuple[Callable[[], GivenKeras], str]] = {
    "no loss": (lambda: given_keras(net(), None, (X, Y), None), "not compiled with one: pass a loss"),
    "an unknown loss": (lambda: given_keras(net(), "crossentropi", (X, Y), None), "no loss called 'crossentropi'"),
    "a class of losses": (lambda: given_keras(net(), losses.Huber, (X, Y), None), "the class Huber itself"),
    "a number for a loss": (lambda: given_keras(net(), 3, (X, Y), None), "got int"),
    "a closure": (lambda: given_keras(net(), lambda model, batch: 0, (X, Y), None), "output and target"),
    "an unknown optimizer": (lambda: given_keras(net(), LOGITS, (X, Y), "adamm"), "no optimizer called 'adamm'"),
    "no optimizer": (lambda: given_keras(net(), LOGITS, (X, Y), 3), "got int"),
    "weights for samples": (lambda: given_keras(net(), LOGITS, Batches(3), None), "weights for the samples"),
    "weights in arrays": (lambda: given_keras(net(), LOGITS, (X, Y, np.ones(96)), None), "weights for the samples"),
    "arrays of words": (lambda: given_keras(net(), LOGITS, (X, Y.astype(str)), None), "of type <U"),
    "arrays that do not fit": (lambda: given_keras(net(), LOGITS, (X, Y[:50]), None), "numbers of rows: 50, 96"),
    "no target by name": (lambda: given_keras(net(), LOGITS, {"x": X, "kind": Y}, None), "`labels` or `target`"),
    "nothing": (lambda: given_keras(net(), LOGITS, [], None), "no batch"),
    "no data": (lambda: given_keras(net(), LOGITS, None, None), "got NoneType"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_checked_is_refused_in_a_sentence(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(UsageError, match=words):
        make()


def test_frozen_models_are_refused() -> None:
    model = net()
    model.trainable = False
    with pytest.raises(UsageError, match="no trainable weights"):
        given_keras(model, LOGITS, (X, Y), None)


def test_another_backend_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "keras_backend", lambda: "jax")
    with pytest.raises(UsageError, match=r"Keras runs on jax here.*KERAS_BACKEND=torch"):
        stethoscope.check(net(), LOGITS, (X, Y))


def test_the_optimizer_of_compile_is_copied_with_its_state() -> None:
    model = compiled(LOGITS, optimizer=keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.5)))
    model.fit(X, Y, verbose=0)
    before = [np.array(variable) for variable in model.optimizer.variables]
    given = given_keras(model, None, (X, Y), None)
    given.rehearse()
    assert all(np.array_equal(a, np.array(b)) for a, b in zip(before, model.optimizer.variables, strict=True))
    assert given.optimizer is not model.optimizer
    assert int(given.optimizer.iterations) > int(model.optimizer.iterations)


def test_an_optimizer_of_torch_stays_as_it_is() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    assert stethoscope.check(model, F.cross_entropy, (TX, TY), optimizer, profile="quick").ok
    assert not optimizer.state


def test_a_model_of_compile_is_checked_with_its_penalties_and_its_names() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(16, "relu", kernel_regularizer="l2", name="body"),
                              layers.BatchNormalization(name="norm"), layers.Dense(3, name="head")])  # fmt: skip
    model.compile("adam", LOGITS)
    checked = stethoscope.check(model, None, (X, Y))
    assert checked.ok
    assert checked.history.framework == "keras"
    assert checked.history.preflight.structure is not None
    parts = [part.name for part in checked.history.preflight.structure.parts]
    assert parts == ["", "body", "norm", "head"]


def faulty(fault: str) -> tuple[Any, Any, Any]:
    match fault:
        case "softmax twice":
            return compiled(LOGITS, activation="softmax"), None, (X, Y)
        case "raw scores":
            return compiled("sparse_categorical_crossentropy"), None, (X, Y)
        case "relu at the end":
            return compiled("mse", 1, "relu"), None, (X, REAL)
        case "rate":
            return compiled(LOGITS, optimizer=keras.optimizers.SGD(100.0)), None, (X, Y)
    return net(), LOGITS, (X[:, :5], Y)


FAULTS = {
    "softmax twice": "softmax-before-cross-entropy",
    "raw scores": "cross-entropy-without-softmax",
    "relu at the end": "output-activation-limits-range",
    "rate": "learning-rate-too-high",
    "too few columns": "forward-crash",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault: str) -> None:
    many = [np.tile(part, (6, *[1] * (part.ndim - 1))) for part in faulty(fault)[2]]
    model, loss, _ = faulty(fault)
    profile = "default" if fault in ("rate", "raw scores") else "quick"  # enough for what the structure tells
    findings = stethoscope.check(model, loss, tuple(many), profile=profile).findings
    assert findings[0].rule == FAULTS[fault]


def test_a_model_that_cannot_be_built_is_explained() -> None:
    model = keras.Sequential([layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
    checked = stethoscope.check(model, LOGITS, (X, Y), profile="quick")
    assert [finding.rule for finding in checked.findings] == ["forward-crash"]


def test_a_layer_of_torch_is_not_taken_for_one_that_stands_still() -> None:
    inner = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))
    model = keras.Sequential([keras.Input((6,)), keras.layers.TorchModuleWrapper(inner), layers.Dense(3)])
    before = inner[1].running_mean.clone()
    checked = stethoscope.check(model, LOGITS, (X, Y), profile="quick")
    assert checked.ok
    others = [each for each in checked.experiments if each.name != "terms"]
    assert all("module of torch's" in experiment.why_not for experiment in others)
    assert torch.equal(inner[1].running_mean, before)
    with pytest.raises(UsageError, match="module of torch's"):
        given_keras(model, LOGITS, (X, Y), None).subject()


def test_what_keras_says_of_a_wrong_shape_is_told_without_its_colours() -> None:
    (finding,) = stethoscope.check(net(), LOGITS, (X[:, :5], Y), profile="quick").findings
    assert "expected axis -1" in str(finding.evidence)
    assert "x1b" not in repr(finding.evidence)
