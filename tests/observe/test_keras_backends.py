"""Keras on JAX and on TensorFlow: the same bits with the callback as without it, and its steps are seen."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keras")

PROGRAM = """
import hashlib, json, sys
import keras
import numpy as np
from stethoscope.adapters.keras import Callback

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(250, 6)).astype("float32")
y = (x.sum(1) > 0).astype("int32")
layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.2), keras.layers.BatchNormalization()]
model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(2, activation="softmax")])
each, epochs = int(sys.argv[2]), int(sys.argv[3])
model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=each)
callback = Callback(report=False)
watched = sys.argv[1] != "alone"
if sys.argv[1] == "of several replicas":
    from stethoscope.observe.arrays import keras_fit

    def refuse(drawn, spec):
        raise TypeError("not a spec of TensorFlow's own")

    keras_fit._giving = refuse
if sys.argv[1] == "unlike any other":
    from stethoscope.observe.arrays import keras_fit

    def fail(fit):
        raise AttributeError("a model of another kind")

    keras_fit.KerasFit._describe = fail
if sys.argv[1] == "its own function":
    class Own(type(model)):
        def make_train_function(self, force=False):
            return super().make_train_function(force)

    model.__class__ = Own
told = {}
fit = model.fit(
    x, y, batch_size=16, epochs=epochs, validation_split=0.2, verbose=0, callbacks=[callback] if watched else []
)
told["bits"] = hashlib.md5(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
told["logs"] = fit.history
if watched:
    seen = callback.heard.history
    told["steps"] = seen.steps
    told["blind"] = seen.sampling.blind
    told["layers"] = [(layer.name, layer.feeds) for layer in seen.layers]
    told["loss"] = [[one.function, one.produced_by, one.watched] for one in seen.losses]
    told["curves"] = sorted(curve.name for curve in seen.curves)
    told["looks"] = seen.sampling.looks
    told["losses"] = next(curve.values.tolist() for curve in seen.curves if curve.name == "training loss")
    if seen.layers and seen.losses:
        told["gradients"] = bool(np.isfinite(seen.telemetry.parameter("gradient_rms")).all())
        told["updates"] = bool(np.isfinite(seen.telemetry.parameter("update_ratio")).all())
print(json.dumps(told))
"""

OTHERS = """
import json, sys
import keras
import numpy as np
from stethoscope.adapters.keras import Callback

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
first, second = keras.Input((2,), name="first"), keras.Input((2,), name="second")
both = keras.layers.Concatenate()([first, second])
outputs = {"a": keras.layers.Dense(1, name="a")(both), "b": keras.layers.Dense(1, name="b")(first)}
model = keras.Model({"second": second, "first": first}, outputs)
model.compile("sgd", {"a": "mse", "b": "mse"})

class Broken(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt

def fit(*others):
    callback = Callback(report=False)
    given = {"first": x[:, :2], "second": x[:, 2:]}
    try:
        model.fit(given, {"a": x[:, :1], "b": x[:, 1:2]}, batch_size=16, verbose=0, callbacks=[callback, *others])
    except KeyboardInterrupt:
        pass
    return callback.heard.history

if sys.argv[1] == "broken":
    fit(Broken())
seen = fit()
left = type(getattr(model.train_function, "__self__", None)).__name__
told = {"steps": seen.steps, "looks": len(seen.telemetry.steps), "blind": seen.sampling.blind, "left": left}
print(json.dumps(told))
"""


def told(backend: str, mode: str, folder: Path, program: str = PROGRAM, each: int = 1, epochs: int = 4) -> Any:
    environment = {**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", program, mode, str(each), str(epochs)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_a_fit_is_seen_and_computes_the_same_bits(backend: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} not installed")

    alone, beside = told(backend, "alone", tmp_path), told(backend, "watched", tmp_path)

    assert alone["bits"] == beside["bits"]
    assert beside["steps"] == 52
    assert beside["blind"] == []
    assert ["dense", "relu"] in beside["layers"]
    assert beside["loss"] == [["categorical_crossentropy", "softmax", 50]]
    assert {"training loss", "validation loss", "validation accuracy"} <= set(beside["curves"])
    assert beside["gradients"]
    assert beside["updates"]


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
@pytest.mark.parametrize("mode", ["whole", "broken"])
def test_named_inputs_and_outputs_are_seen_also_behind_a_fit_that_was_broken_off(
    backend: str, mode: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} not installed")

    seen = told(backend, mode, tmp_path, OTHERS)

    assert seen["blind"] == []
    assert (seen["steps"], seen["looks"]) == (4, 4)
    assert seen["left"] != "KerasFit"


@pytest.mark.parametrize("kind", ["of several replicas", "unlike any other"])
def test_a_fit_that_cannot_be_looked_into_computes_the_same_bits(kind: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("tensorflow not installed")

    alone, beside = told("tensorflow", "alone", tmp_path), told("tensorflow", kind, tmp_path)

    assert alone["bits"] == beside["bits"]
    assert beside["blind"]


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_several_steps_of_one_execution_are_seen_one_by_one_and_compute_the_same_bits(
    backend: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} not installed")
    alone, beside = (told(backend, mode, tmp_path, each=4, epochs=12) for mode in ("alone", "watched"))
    single = told(backend, "watched", tmp_path, epochs=12)

    assert (beside["bits"], beside["logs"]) == (alone["bits"], alone["logs"])
    assert beside["steps"] == single["steps"] == 156  # 13 batches an epoch: four executions, the last of one step
    assert beside["blind"] == []
    assert beside["loss"][0][2] >= 50
    assert beside["looks"] >= 25
    assert beside["gradients"]
    assert beside["updates"]
    opening = beside["losses"][:50]
    assert opening == pytest.approx(single["losses"][:50], rel=1e-3)
    if backend == "jax":
        assert beside["losses"] == pytest.approx(single["losses"], rel=1e-3)


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_executions_that_a_model_makes_itself_are_heard_by_their_loss_and_that_is_said(
    backend: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} not installed")
    alone = told(backend, "alone", tmp_path, each=4)

    beside = told(backend, "its own function", tmp_path, each=4)

    assert beside["bits"] == alone["bits"]
    assert ["steps_per_execution" in why for why in beside["blind"]] == [True]
    assert beside["losses"]
