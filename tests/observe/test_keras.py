"""What a session hears of Keras, which has optimizers, losses and a training loop of its own."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

os.environ.setdefault("KERAS_BACKEND", "torch")
keras: Any = pytest.importorskip("keras")

from stethoscope.facts.training import History, LossCall  # noqa: E402
from stethoscope.observe.training import keras_layers  # noqa: E402
from stethoscope.observe.training.keras_losses import compared  # noqa: E402
from stethoscope.observe.training.session import Session  # noqa: E402
from stethoscope.observe.training.taps import Taps  # noqa: E402

layers = keras.layers
pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="Keras runs on another backend here")


@pytest.fixture
def data() -> tuple[Any, Any]:
    """120 rows of 4 features in 3 classes."""
    keras.utils.set_random_seed(0)
    x = np.random.randn(120, 4).astype("float32")
    return x, x[:, :3].argmax(axis=1)


def _classifier(head: str | None = "softmax", *, dropout: float = 0.0) -> Any:
    parts = [layers.Input((4,)), layers.Dense(8, activation="relu", name="hidden")]
    parts += [layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([*parts, layers.Dense(3, activation=head, name="head")])


def _fitted(listening: Any, data: Any, model: Any, loss: Any, **options: Any) -> History:
    with listening() as session:
        model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss, metrics=["accuracy"])
        model.fit(*data, epochs=3, batch_size=20, verbose=0, **options)
        history: History = session.history()
    return history


def _only_loss(history: History) -> LossCall:
    (loss,) = history.losses
    return loss


def test_layers_and_weights_have_their_keras_names(listening: Any, data: Any) -> None:
    history = _fitted(listening, data, _classifier(), "sparse_categorical_crossentropy")

    assert [(layer.name, layer.kind, layer.order, layer.feeds) for layer in history.layers] == [
        ("hidden", "Dense", 0, "relu"),
        ("head", "Dense", 1, "softmax"),
    ]
    assert [p.name for p in history.parameters] == ["hidden.kernel", "hidden.bias", "head.kernel", "head.bias"]
    assert history.parameters[0].shape == (8, 4), "outputs first, as torch has it"
    assert all(p.optimizer == 0 and p.received_gradient and p.in_graph for p in history.parameters)


def test_the_optimizer_is_told_as_torchs_are(listening: Any, data: Any) -> None:
    history = _fitted(listening, data, _classifier(), "sparse_categorical_crossentropy")

    (optimizer,) = history.optimizers
    assert (optimizer.kind, optimizer.steps, history.steps) == ("Adam", 18, 18)
    assert optimizer.groups[0]["lr"] == 0.01
    assert optimizer.site is not None
    assert "keras.optimizers.Adam(0.01)" in optimizer.site.text
    assert optimizer.step_site is not None
    assert "model.fit(" in optimizer.step_site.text
    faults = ("without_backward", "without_gradient", "cleared_before_step", "not_cleared", "parameters_never_reached")
    assert not any(getattr(optimizer, fault) for fault in faults)


def test_updates_and_gradients_are_those_of_the_weights(listening: Any, data: Any) -> None:
    model = _classifier()
    with listening(every=1) as session:
        model.compile("sgd", "sparse_categorical_crossentropy")
        before = model.get_layer("hidden").kernel.value.detach().clone()
        model.train_on_batch(*data)
        change = model.get_layer("hidden").kernel.value.detach() - before
        telemetry = session.history().telemetry

    ratio = (change.square().mean().sqrt() / before.square().mean().sqrt()).item()
    assert telemetry.parameter("update_ratio")[0, 0] == pytest.approx(ratio, rel=1e-3)
    gradient = model.get_layer("hidden").kernel.value.grad
    assert telemetry.parameter("gradient_rms")[0, 0] == pytest.approx(gradient.square().mean().sqrt().item(), rel=1e-4)


def test_a_frozen_layer_is_frozen_and_held_by_no_optimizer(listening: Any, data: Any) -> None:
    model = _classifier()
    model.get_layer("hidden").trainable = False
    history = _fitted(listening, data, model, "sparse_categorical_crossentropy")

    assert [(p.trainable, p.optimizer) for p in history.parameters] == [(False, -1)] * 2 + [(True, 0)] * 2


def test_the_loop_is_whole_and_in_train_mode(listening: Any, data: Any) -> None:
    history = _fitted(listening, data, _classifier(dropout=0.2), "sparse_categorical_crossentropy")

    assert [event.what for event in history.loop.cycle] == ["forward", "zero_grad", "loss", "backward", "step"]
    (model,) = history.models
    assert (model.kind, model.has_dropout, model.training_forwards, model.training_forwards_in_eval) == (
        "Sequential", True, 18, 0,
    )  # fmt: skip


def test_every_line_named_is_the_users(listening: Any, data: Any) -> None:
    history = _fitted(listening, data, _classifier(), "sparse_categorical_crossentropy", validation_split=0.2)

    sites = [loss.site for loss in history.losses] + [curve.site for curve in history.curves]
    sites += [event.site for event in history.loop.cycle] + [each.site for each in history.validation]
    assert {site.file.rpartition("/")[2] for site in sites if site is not None} == {"test_keras.py"}
    assert "model.compile(" in (_only_loss(history).site or sites[0]).text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("head", "loss", "function", "expects", "made_by"),
    [
        ("softmax", "sparse_categorical_crossentropy", "categorical_crossentropy", "probabilities", "softmax"),
        (None, "sparse_categorical_crossentropy", "categorical_crossentropy", "probabilities", "linear"),
        (
            "softmax",
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "cross_entropy",
            "logits",
            "softmax",
        ),
        (None, keras.losses.SparseCategoricalCrossentropy(from_logits=True), "cross_entropy", "logits", "linear"),
    ],
)
def test_what_a_categorical_loss_expects_and_gets(
    listening: Any, data: Any, head: Any, loss: Any, function: str, expects: str, made_by: str
) -> None:
    seen = _only_loss(_fitted(listening, data, _classifier(head), loss))

    assert (seen.function, seen.expects, seen.produced_by) == (function, expects, made_by)
    assert seen.called == "sparse_categorical_crossentropy"
    assert (seen.output_shape, seen.target_shape, seen.target_is_integer) == ((20, 3), (20,), True)
    assert sum(seen.class_counts) == 18 * 20
    assert seen.chance == pytest.approx(1.09, abs=0.02)


def test_one_hot_targets_are_classes_all_the_same(listening: Any, data: Any) -> None:
    x, y = data
    history = _fitted(listening, (x, keras.utils.to_categorical(y)), _classifier(), "categorical_crossentropy")

    seen = _only_loss(history)
    assert (seen.called, seen.target_shape) == ("categorical_crossentropy", (20,))
    assert history.batches.class_counts.shape == (18, 3)


@pytest.mark.parametrize(
    ("loss", "function", "expects"),
    [
        ("binary_crossentropy", "binary_cross_entropy", "probabilities"),
        (keras.losses.BinaryCrossentropy(from_logits=True), "binary_cross_entropy_with_logits", "logits"),
        ("mse", "mse_loss", "values"),
        ("mean_absolute_error", "l1_loss", "values"),
        (keras.losses.Huber(), "huber_loss", "values"),
    ],
)
def test_a_column_of_outputs_against_a_row_of_targets_is_not_stretched(
    listening: Any, data: Any, loss: Any, function: str, expects: str
) -> None:
    x, y = data
    model = keras.Sequential([layers.Dense(1, activation="sigmoid")])
    seen = _only_loss(_fitted(listening, (x, y == 0), model, loss, validation_split=0.25))

    assert (seen.function, seen.expects, seen.produced_by) == (function, expects, "sigmoid")
    assert seen.broadcast_to == ()
    assert seen.output_shape == seen.target_shape
    assert seen.evaluation_calls == 3


def test_targets_that_keras_itself_stretches_are_told(listening: Any, data: Any) -> None:
    x, y = data
    seen = _only_loss(_fitted(listening, (x, keras.utils.to_categorical(y)[:, :2]), _classifier(), _outer))
    assert seen.function == "backward", "a loss of the script's own is read off the graph"


def _outer(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean((y_true[:, None, :1] - y_pred[:, :, None]) ** 2)


def test_weights_of_classes_leave_no_chance_level(listening: Any, data: Any) -> None:
    history = _fitted(
        listening, data, _classifier(), "sparse_categorical_crossentropy", class_weight={0: 5.0, 1: 1, 2: 1}
    )
    assert _only_loss(history).reduction == "weighted"


def test_validation_has_a_point_for_each_epoch_and_a_test_set_none(listening: Any, data: Any) -> None:
    model = _classifier()
    with listening() as session:
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        log = model.fit(*data, epochs=4, validation_split=0.25, verbose=0)
        model.evaluate(*data, verbose=0)
        model.predict(data[0], verbose=0)
        history = session.history()

    curve = history.curve("loss", "validation")
    assert curve is not None
    assert curve.values == pytest.approx(log.history["val_loss"], rel=1e-4)
    accuracy = history.curve("accuracy", "validation")
    assert accuracy is not None
    assert accuracy.values == pytest.approx(log.history["val_accuracy"], rel=1e-4)
    assert not any(each.in_train_mode for each in history.validation)


def test_evaluations_between_fits_are_the_validation_where_there_is_no_other(listening: Any, data: Any) -> None:
    model = _classifier()
    with listening() as session:
        model.compile("adam", "sparse_categorical_crossentropy")
        found = []
        for _ in range(5):
            model.fit(*data, verbose=0)
            found.append(model.evaluate(*data, batch_size=120, verbose=0))
        curve = session.history().curve("loss", "validation")

    assert curve is not None
    assert curve.values == pytest.approx(found, rel=1e-4)


def test_what_was_asked_of_fit_is_kept(listening: Any, data: Any) -> None:
    history = _fitted(
        listening, data, _classifier(), "sparse_categorical_crossentropy", shuffle=False,
        callbacks=[keras.callbacks.ReduceLROnPlateau(monitor="loss")],
    )  # fmt: skip

    (fit,) = history.fits
    assert (fit.loss, fit.metrics, fit.callbacks) == (
        "sparse_categorical_crossentropy", ("accuracy",), ("ReduceLROnPlateau",),
    )  # fmt: skip
    assert (fit.epochs, fit.batch_size, fit.shuffle, fit.validates, fit.weighted) == (3, 20, False, False, False)
    assert history.framework == "keras"
    assert history.loop.scheduler_kinds == ("ReduceLROnPlateau",)


def test_the_rate_is_followed_and_clipping_is_told(listening: Any, data: Any) -> None:
    model = _classifier()
    with listening() as session:
        rate = keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.1, 0.01])
        model.compile(keras.optimizers.SGD(rate, clipnorm=2.0), "sparse_categorical_crossentropy")
        model.fit(*data, batch_size=10, verbose=0)
        history = session.history()

    curve = history.curve("learning rate")
    assert curve is not None
    assert curve.values.tolist() == [0.1, 0.01]
    assert (history.loop.clip_kind, history.loop.clip_limit) == ("norm", 2.0)


def test_a_loop_that_does_not_say_that_it_trains_runs_in_eval_mode(listening: Any, data: Any) -> None:
    model, loss = _classifier(None, dropout=0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.1)
    x, y = torch.tensor(data[0]), torch.tensor(data[1])
    with listening() as session:
        for asked in [None] * 6 + [True] * 6:
            value = loss(y, model(x) if asked is None else model(x, training=asked))
            model.zero_grad()
            value.backward()
            with torch.no_grad():
                optimizer.apply([v.value.grad for v in model.trainable_weights], model.trainable_weights)
        history = session.history()

    assert (history.models[0].training_forwards, history.models[0].training_forwards_in_eval) == (12, 6)
    assert history.optimizers[0].steps == 12
    assert _only_loss(history).training_calls == 12


def test_a_part_of_a_model_is_no_second_model(listening: Any, data: Any) -> None:
    model = _classifier()
    inner = keras.Model(model.inputs, model.get_layer("hidden").output)
    with listening() as session:
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(*data, verbose=0)
        inner.predict(data[0], verbose=0)
        assert len(session.history().models) == 1


def test_the_loss_is_heard_once_although_torch_computes_it(listening: Any, data: Any) -> None:
    x, y = data
    model = keras.Sequential([layers.Dense(1, activation="sigmoid")])
    with listening() as session:
        model.compile("adam", "binary_crossentropy", metrics=["binary_crossentropy"])
        model.fit(x, (y == 0).astype("float32")[:, None], verbose=0)
        assert [loss.training_calls for loss in session.history().losses] == [4]


def test_an_optimizer_is_no_second_one_when_the_taps_were_off_for_a_while(data: Any) -> None:
    session = Session()
    taps = Taps(session)
    model = _classifier()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    for _ in range(2):
        taps.put_on()
        model.fit(*data, epochs=1, verbose=0)
        taps.take_off(finish=False)
    session.end()

    assert len(session.history().optimizers) == 1


def test_keras_is_put_back_as_it_was(listening: Any) -> None:
    tapped = (keras.optimizers.Optimizer, keras.losses.Loss, keras.Model)
    before = [getattr(owner, name) for owner, name in zip(tapped, ("apply", "__call__", "fit"), strict=True)]
    with listening():
        assert keras.Model.fit is not before[2]
    assert [getattr(o, n) for o, n in zip(tapped, ("apply", "__call__", "fit"), strict=True)] == before


def test_another_backend_is_said_not_to_be_heard(listening: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_layers, "keras_backend", lambda: "jax")
    with listening() as session:
        (sentence,) = session.history().sampling.blind
    assert "jax" in sentence
    assert "torch" in sentence


def test_soft_targets_stay_soft() -> None:
    loss = keras.losses.CategoricalCrossentropy()
    seen = compared(loss, np.array([[0.9, 0.1], [0.5, 0.5]]), torch.tensor([[0.8, 0.2], [0.3, 0.7]]), False)
    assert seen is not None
    assert seen.target is not None
    assert seen.target.shape == (2, 2)
