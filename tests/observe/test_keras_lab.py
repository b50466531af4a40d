"""The lab takes steps of Keras models again, on copies of their weights."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

os.environ.setdefault("KERAS_BACKEND", "torch")
keras: Any = pytest.importorskip("keras")

from sklearn.datasets import load_digits  # noqa: E402

from stethoscope.core.treatment import (  # noqa: E402
    FitHead,
    NoDropout,
    Reinitialize,
    ScaleLearningRate,
    TrainMode,
    Treatment,
)
from stethoscope.diagnosing.verdict import verdict_of  # noqa: E402
from stethoscope.observe.model import lab as laboratory  # noqa: E402
from stethoscope.observe.model.lab import lab_of  # noqa: E402

layers = keras.layers
pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="Keras runs on another backend here")
DIGITS = load_digits()
IMAGES = (DIGITS.data / 16).astype("float32")
PATIENT_S = 600.0
"""No experiment here ends for want of time, however busy the machine is."""


@pytest.fixture(autouse=True)
def _short_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of Keras are slow, and what is tried here shows in a third of them."""
    monkeypatch.setattr(laboratory, "MOST_STEPS", 16)


class Net(keras.Model):  # type: ignore[misc]
    """A model of a class of the script's own."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.hidden = layers.Dense(32, activation="relu")
        self.norm = layers.BatchNormalization()
        self.drop = layers.Dropout(dropout)
        self.head = layers.Dense(10, activation="softmax")

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Scores of images."""
        return self.head(self.drop(self.norm(self.hidden(x), training=training), training=training))


def verdict(listening: Any, model: Any, optimizer: Any, *treatments: Treatment, loss: Any = None) -> str:
    """Of treatments of a model that is fitted for one epoch; nothing of it may change by them."""
    keras.utils.set_random_seed(0)
    with listening(capture=True) as session:
        model.compile(optimizer, loss or "sparse_categorical_crossentropy")
        target = DIGITS.target if loss is None else (DIGITS.target > 4).astype("float32")[:, None]
        model.fit(IMAGES, target, epochs=1, verbose=0)
    before = [np.array(weight) for weight in (*model.get_weights(), *(v.numpy() for v in optimizer.variables))]
    lab = lab_of(session.state, chance=float("nan"), rates=[], seconds=PATIENT_S)
    found = verdict_of(lab(treatments, False)).verdict
    after = [np.array(weight) for weight in (*model.get_weights(), *(v.numpy() for v in optimizer.variables))]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    return found


def test_a_rate_that_is_too_low_is_cured_by_a_higher_one(listening: Any) -> None:
    assert verdict(listening, Net(), keras.optimizers.Adam(1e-6), ScaleLearningRate(1e4)) == "cured"


def test_dropout_is_taken_away(listening: Any) -> None:
    assert verdict(listening, Net(0.97), keras.optimizers.Adam(0.01), NoDropout()) in ("cured", "helped")


def test_weights_are_drawn_anew(listening: Any) -> None:
    model = keras.Sequential(
        [
            layers.Input((64,)),
            layers.Dense(32, activation="relu", kernel_initializer="he_normal"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.layers[0].bias.assign(np.full(32, -100, "float32"))
    assert verdict(listening, model, keras.optimizers.Adam(0.01), Reinitialize()) == "cured"


def test_a_softmax_over_one_unit_is_replaced_with_its_loss(listening: Any) -> None:
    model = keras.Sequential([
        layers.Input((64,)), layers.Dense(32, activation="relu"), layers.Dense(1, activation="softmax"),
    ])  # fmt: skip
    treatment = FitHead("binary_cross_entropy_with_logits")
    assert verdict(listening, model, keras.optimizers.Adam(0.01), treatment, loss="binary_crossentropy") == "cured"


def test_a_loop_that_never_says_training_gets_train_mode(listening: Any) -> None:
    model, optimizer = Net(), keras.optimizers.SGD(0.02)
    loss_of = keras.losses.SparseCategoricalCrossentropy()
    model(IMAGES[:2])
    model.hidden.kernel.assign(np.array(model.hidden.kernel) * 1e-4)
    optimizer.build(model.trainable_variables)
    with listening(capture=True) as session:
        for start in range(0, 1600, 64):
            x = torch.tensor(IMAGES[start : start + 64])
            loss = loss_of(torch.tensor(DIGITS.target[start : start + 64]), model(x))
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                optimizer.apply([v.value.grad for v in model.trainable_variables], model.trainable_variables)
    lab = lab_of(session.state, chance=float("nan"), rates=[], seconds=PATIENT_S)
    trial = lab((TrainMode(),), False)
    assert trial.why_not == ""
    assert verdict_of(trial).verdict in ("cured", "helped")
