"""The assertions for a user's own tests take Keras models: each passes on sound ones, and fails on a faulty one in the
words of Keras."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

os.environ.setdefault("KERAS_BACKEND", "torch")
keras: Any = pytest.importorskip("keras")

from stethoscope import testing  # noqa: E402
from stethoscope.core.errors import UsageError  # noqa: E402

layers, ops = keras.layers, keras.ops
pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="Keras runs on another backend here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(size=(24, 6)).astype("float32"), np.arange(24) % 3
TOKENS = DRAW.integers(0, 11, (8, 9))
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SHARES = "sparse_categorical_crossentropy"


class Net(keras.Model):  # type: ignore[misc]
    """A model of a class of one's own, with one thing wrong that is told by name."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault
        self.hidden = layers.Dense(32, activation="tanh", name="hidden")
        self.norm = layers.BatchNormalization(name="norm")
        self.drop = layers.Dropout(0.2)
        self.head = layers.Dense(3, name="head")
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x: Any, training: bool = False) -> Any:
        """Scores of samples."""
        h = self.drop(self.norm(self.hidden(x), training=training), training=training)
        if self.fault == "cut":
            h = ops.stop_gradient(h)
        elif self.fault == "mixed":
            h = h - ops.mean(h, axis=0)
        elif self.fault == "noise":
            h = h + ops.convert_to_tensor(np.random.default_rng().normal(size=h.shape).astype("float32"))
        elif self.fault == "dropout in eval mode":
            h = keras.random.dropout(h, 0.5)
        elif self.fault == "counts":
            self.calls.assign(self.calls + 1)
        out = self.head(h)
        return {"bounded": 0.1 * ops.sin(out), "huge": 1000 * out, "zero": out * 0}.get(self.fault, out)


class Attention(keras.Model):  # type: ignore[misc]
    """A small language model, causal or not."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.embed, self.out = layers.Embedding(11, 16), layers.Dense(11)
        self.attention = layers.MultiHeadAttention(2, 8, name="attention")

    def call(self, tokens: Any) -> Any:
        """Scores of the next token."""
        x = self.embed(tokens)
        return self.out(x + self.attention(x, x, use_causal_mask=self.causal))


class Swish(layers.Layer):  # type: ignore[misc]
    """An activation with a gradient of its own, right or off by a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def call(self, x: Any) -> Any:
        """The activation."""

        @ops.custom_gradient  # type: ignore[untyped-decorator]
        def swish(x: Any) -> Any:
            s = ops.sigmoid(x)

            def gradient(*given: Any, upstream: Any = None) -> Any:
                above = given[0] if upstream is None else upstream
                return self.factor * above * (s + x * s * (1 - s))

            return x * s, gradient

        return swish(x)


def sequential() -> Any:
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(32, "tanh"), layers.BatchNormalization(), layers.Dropout(0.2), layers.Dense(3)]
    )


def functional() -> Any:
    given = keras.Input((6,))
    hidden = layers.Dropout(0.2)(layers.Dense(32, "tanh")(given))
    return keras.Model(given, layers.Dense(3)(layers.concatenate([hidden, layers.LayerNormalization()(given)])))


def compiled(model: Any, loss: Any = LOGITS, optimizer: Any = "adam") -> Any:
    model.compile(optimizer, loss)
    return model


SOUND: dict[str, Callable[[], Any]] = {
    "sequential": sequential,
    "functional": functional,
    "subclassed": Net,
    "softmax": lambda: keras.Sequential([layers.Dense(32, "relu"), layers.Dense(3, "softmax")]),
}
ALL = [name for name in testing.__all__ if name not in ("assert_causal", "assert_gradients_correct")]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.parametrize("name", ALL)
def test_a_sound_model_passes(name: str, kind: str) -> None:
    getattr(testing, name)(SOUND[kind](), SHARES if kind == "softmax" else LOGITS, (X, Y))


@pytest.mark.parametrize("kind", SOUND)
def test_gradients_of_a_sound_model_are_correct_to_double_precision(kind: str) -> None:
    model = SOUND[kind]()
    loss = SHARES if kind == "softmax" else LOGITS
    testing.assert_gradients_correct(model, loss=loss, batch=(X, Y), tolerance=1e-8)
    assert keras.config.floatx() == "float32"
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert keras.backend.result_type("float64", "float64") == keras.backend.result_type("float32", "float32")


@pytest.mark.parametrize(
    "loss",
    [LOGITS, nn.CrossEntropyLoss(), nn.functional.cross_entropy, None],
    ids=["keras", "torch", "function", "compiled"],
)
def test_losses_of_keras_and_of_torch_and_of_compile_are_taken(loss: Any) -> None:
    model = compiled(sequential())
    testing.assert_learns(model, loss, (torch.tensor(X), torch.tensor(Y)))
    testing.assert_loss_at_chance(model, loss, (X, Y))


def test_a_bounded_output_does_not_learn_two_samples() -> None:
    with pytest.raises(AssertionError, match=r"cannot be memorised(.|\n)*healthy"):
        testing.assert_learns(Net("bounded"), LOGITS, (X, Y))


def test_a_first_loss_far_above_a_guess_is_not_at_chance() -> None:
    with pytest.raises(AssertionError, match=r"a guess gives 1\.099"):
        testing.assert_loss_at_chance(Net("huge"), LOGITS, (X, Y))


@pytest.mark.parametrize(
    ("fault", "words"), [("cut", "receive no gradient: `hidden.kernel`, `hidden.bias`"), ("zero", "gradient of 0")]
)
def test_gradients_that_do_not_flow_are_named_as_keras_names_them(fault: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        testing.assert_gradients_flow(Net(fault), LOGITS, (X, Y))


def test_a_gradient_of_ones_own_that_is_off_by_a_thousandth_is_not_correct() -> None:
    def net(factor: float) -> Any:
        return keras.Sequential([keras.Input((6,)), layers.Dense(8), Swish(factor), layers.Dense(3)])

    testing.assert_gradients_correct(net(1.0), loss=LOGITS, batch=(X, Y))
    with pytest.raises(AssertionError, match="the gradient of the whole model is off by"):
        testing.assert_gradients_correct(net(1.01), loss=LOGITS, batch=(X, Y))


def test_a_model_that_casts_to_single_precision_cannot_be_compared() -> None:
    model = keras.Sequential([layers.Dense(8), layers.Lambda(lambda x: ops.cast(x, "float32")), layers.Dense(3)])
    with pytest.raises(UsageError, match="computes in single precision"):
        testing.assert_gradients_correct(model, loss=LOGITS, batch=(X, Y))


@pytest.mark.parametrize("seed", range(4))
def test_a_loss_of_ones_own_is_compared_in_double_precision_too(seed: int) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.log(ops.cosh(y_pred - y_true)))

    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(32, "relu"), layers.Dense(1)])
    testing.assert_gradients_correct(model, loss=loss, batch=(X, X[:, :1]), tolerance=1e-7)


def test_a_model_without_its_batch_is_told_how_it_is_tested() -> None:
    with pytest.raises(UsageError, match="batch=batch"):
        testing.assert_gradients_correct(sequential(), LOGITS)


def test_the_layer_in_whose_code_samples_meet_is_named() -> None:
    with pytest.raises(AssertionError, match="samples of a batch are mixed"):
        testing.assert_batch_independent(Net("mixed"), LOGITS, (X, Y))


def test_the_layer_that_looks_ahead_is_named() -> None:
    testing.assert_causal(Attention(causal=True), LOGITS, (TOKENS, TOKENS))
    with pytest.raises(AssertionError, match=r"later positions in `attention` \(MultiHeadAttention\)"):
        testing.assert_causal(Attention(causal=False), LOGITS, (TOKENS, TOKENS))


def test_weights_that_a_step_leaves_as_they_are_are_named() -> None:
    model = sequential()
    held = [variable.value for variable in model.layers[0].trainable_variables]
    with pytest.raises(AssertionError, match=r"`dense_\d*.kernel`, `dense_\d*.bias`"):
        testing.assert_all_parameters_train(model, LOGITS, (X, Y), torch.optim.SGD(held, lr=0.1))
    with pytest.raises(AssertionError, match=r"`hidden.kernel`, `hidden.bias`(.|\n)*no gradient"):
        testing.assert_all_parameters_train(Net("cut"), LOGITS, (X, Y))


def test_a_generator_of_its_own_is_not_deterministic() -> None:
    with pytest.raises(AssertionError, match="differ in their output"):
        testing.assert_deterministic(Net("noise"), LOGITS, (X, Y))


@pytest.mark.parametrize(("fault", "words"), [("dropout in eval mode", "random numbers"), ("counts", "`calls`")])
def test_eval_mode_that_draws_or_writes_is_not_pure(fault: str, words: str) -> None:
    with pytest.raises(AssertionError, match=f"in eval mode changes .*{words}"):
        testing.assert_eval_mode_pure(Net(fault), LOGITS, (X, Y))


def test_the_model_and_all_random_states_stay_as_they_are() -> None:
    model = compiled(Net(), optimizer=keras.optimizers.Adam(0.01))
    model(X[:2])
    before = [np.array(variable) for variable in model.variables]
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    for name in ALL:
        getattr(testing, name)(model, None, (X, Y))
    assert all(np.array_equal(one, np.array(other)) for one, other in zip(before, model.variables, strict=True))
    assert all(variable.value.grad is None for variable in model.trainable_variables)
    assert not model.optimizer.built
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # type: ignore[union-attr]
