"""A watched step of JAX computes what it computes unwatched, and is read for what it is."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402

import stethoscope  # noqa: E402
from stethoscope.core.settings import Settings  # noqa: E402

X = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(np.int32)
OPTIMIZER = optax.adam(1e-2)


def drawn() -> Any:
    first, second = jax.random.split(jax.random.key(0))
    return {
        "hidden": {"w": 0.4 * jax.random.normal(first, (5, 8)), "b": jnp.zeros(8)},
        "head": {"w": 0.4 * jax.random.normal(second, (8, 2)), "b": jnp.zeros(2)},
    }


def loss_of(params: Any, x: Any, y: Any) -> Any:
    hidden = jax.nn.relu(x @ params["hidden"]["w"] + params["hidden"]["b"])
    scores = hidden @ params["head"]["w"] + params["head"]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()


def made(params: Any, state: Any, x: Any, y: Any) -> Any:
    loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
    updates, state = OPTIMIZER.update(gradients, state)
    return optax.apply_updates(params, updates), state, loss


def train(step: Any, steps: int = 60) -> Any:
    params = drawn()
    state = OPTIMIZER.init(params)
    losses = []
    for number in range(steps):
        rows = np.random.default_rng(number).permutation(64)[:16]
        params, state, loss = step(params, state, X[rows], Y[rows])
        losses.append(float(loss))
    return params, losses


def watched(step: Any) -> Any:
    return stethoscope.watch_jax(step, settings=Settings())


@pytest.mark.parametrize("donated", [(), (0, 1)])
def test_a_watched_step_computes_the_same_bits(donated: tuple[int, ...]) -> None:
    alone, losses = train(jax.jit(made, donate_argnums=donated))
    step = watched(jax.jit(made, donate_argnums=donated))
    beside, heard = train(step)
    step.stop()

    assert losses == heard
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(beside), strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    assert step.history.sampling.blind == ()
    assert np.allclose(step.history.curve("loss").values, losses)


def test_layers_parameters_and_the_loss_are_read_off_the_step() -> None:
    step = watched(jax.jit(made))
    train(step)
    step.stop()
    seen = step.history

    assert seen.framework == "jax"
    assert [(layer.name, layer.kind, layer.feeds) for layer in seen.layers] == [
        ("hidden", "Linear", "relu"),
        ("head", "Linear", ""),
    ]
    assert seen.layers[0].fed_input
    assert {p.name: p.shape for p in seen.parameters}["hidden.w"] == (8, 5)  # outputs first
    assert all(p.in_graph and p.received_gradient for p in seen.parameters)
    loss = seen.losses[0]
    assert (loss.function, loss.called) == ("cross_entropy", "softmax_cross_entropy_with_integer_labels")
    assert loss.site is not None
    assert "softmax_cross_entropy" in loss.site.text
    assert seen.optimizers[0].kind == "adam"
    assert seen.inputs[0].shape == (16, 5)
    assert np.isfinite(seen.telemetry.parameter("update_ratio")).any()
    assert np.isfinite(seen.telemetry.parameter("gradient_rms")).any()
    assert seen.units


def test_gradients_are_those_that_the_optimizer_is_given() -> None:
    step = watched(jax.jit(made))
    params = drawn()
    rows = np.arange(16)
    gradients = jax.grad(loss_of)(params, X[rows], Y[rows])
    step(params, OPTIMIZER.init(params), X[rows], Y[rows])
    step.stop()
    seen = step.history

    for number, parameter in enumerate(seen.parameters):
        holder, _, name = parameter.name.partition(".")
        rms = float(np.sqrt(np.mean(np.asarray(gradients[holder][name]) ** 2)))
        assert seen.telemetry.parameter("gradient_rms")[0, number] == pytest.approx(rms, rel=1e-4)


def test_a_step_that_prints_is_heard_by_its_loss_alone(capfd: pytest.CaptureFixture[str]) -> None:
    @jax.jit
    def step(params: Any, state: Any, x: Any, y: Any) -> Any:
        jax.debug.print("once")
        return made(params, state, x, y)

    listening = watched(step)
    _, losses = train(listening, steps=30)
    listening.stop()
    jax.effects_barrier()

    assert capfd.readouterr().out.count("once") == 30
    assert len(listening.history.curve("loss").values) == len(losses)
    assert "prints or calls back" in listening.history.sampling.blind[0]


def test_what_the_user_traces_is_not_marked() -> None:
    original = optax.softmax_cross_entropy_with_integer_labels
    step = watched(jax.jit(made))
    train(step, steps=3)
    step.stop()

    assert optax.softmax_cross_entropy_with_integer_labels is original
    params = drawn()
    text = str(jax.make_jaxpr(jax.jit(made))(params, OPTIMIZER.init(params), X, Y))
    assert "stethoscope" not in text


def test_a_result_that_is_not_kept_is_named() -> None:
    step = watched(jax.jit(made))
    params = drawn()
    state = OPTIMIZER.init(params)
    for number in range(40):
        rows = np.random.default_rng(number).permutation(64)[:16]
        step(params, state, X[rows], Y[rows])
    step.stop()

    assert step.findings[0].rule == "missing-optimizer-step"
    assert "began from the same weights" in step.findings[0].title


def test_a_function_that_returns_gradients_is_no_step_of_weights() -> None:
    step = watched(jax.jit(jax.value_and_grad(loss_of)))
    params = drawn()
    for number in range(20):
        rows = np.random.default_rng(number).permutation(64)[:16]
        _, gradients = step(params, X[rows], Y[rows])
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients)
    step.stop()

    assert not np.isfinite(step.history.telemetry.parameter("update_rms")).any()
    assert step.history.optimizers[0].parameters_moved


def test_warnings_of_the_users_are_shown_as_often_as_without(recwarn: pytest.WarningsRecorder) -> None:
    step = watched(jax.jit(made))
    params = drawn()
    state = OPTIMIZER.init(params)
    filters = list(warnings.filters)
    warnings.simplefilter("default")
    for _ in range(5):
        params, state, _ = step(params, state, X, Y)
        warnings.warn("mine", stacklevel=1)

    assert [str(one.message) for one in recwarn].count("mine") == 1
    warnings.filters[:] = filters  # type: ignore[index]


def test_what_a_jitted_step_has_is_there() -> None:
    params = drawn()

    assert "stablehlo" in str(watched(jax.jit(made)).lower(params, OPTIMIZER.init(params), X, Y).as_text())


def scheduled(params: Any, state: Any, x: Any, y: Any, number: Any) -> Any:
    loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
    updates, state = OPTIMIZER.update(jax.tree.map(lambda g: g / (1 + 0.1 * number), gradients), state)
    return optax.apply_updates(params, updates), state, loss


@pytest.mark.parametrize("step", [scheduled, jax.jit(scheduled)])
def test_a_count_of_steps_that_is_a_number_of_pythons_is_seen_as_a_value(step: Any) -> None:
    params, heard = drawn(), watched(step)
    bare, state = drawn(), OPTIMIZER.init(params)
    bare_state = state
    for number in range(40):
        params, state, _ = heard(params, state, X, Y, number)
        bare, bare_state, _ = step(bare, bare_state, X, Y, number)

    assert heard.history.sampling.looks >= 20
    assert heard.history.sampling.blind == ()
    assert all(map(np.array_equal, jax.tree.leaves(params), jax.tree.leaves(bare)))


def test_it_is_said_where_calls_are_of_too_many_kinds_to_be_looked_at() -> None:
    def decides(params: Any, state: Any, x: Any, y: Any, number: int) -> Any:
        return made(params, state, x, y) if number >= 0 else (params, state, 0.0)

    step = watched(decides)
    params = drawn()
    state = OPTIMIZER.init(params)
    for number in range(9):
        params, state, _ = step(params, state, X, Y, number)

    assert step.history.sampling.looks == 6
    assert any("6 kinds of calls" in why for why in step.history.sampling.blind)


def by_sgd(rate: float) -> Any:
    optimizer = optax.chain(optax.add_decayed_weights(1e-3), optax.sgd(rate, momentum=0.9))

    def step(params: Any, state: Any, x: Any, y: Any, key: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(params, x + 0.01 * jax.random.normal(key, x.shape), y)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, jax.random.split(key)[0], loss

    return step, optimizer


def through(step: Any, optimizer: Any, steps: int) -> Any:
    params, key = drawn(), jax.random.key(1)
    state = optimizer.init(params)
    for number in range(steps):
        rows = np.random.default_rng(number).permutation(64)[:16]
        params, state, key, _ = step(params, state, X[rows], Y[rows], key)
    return params


@pytest.mark.parametrize("factor", [1.0, 0.1])
@pytest.mark.parametrize("donated", [(), (0, 1)])
def test_steps_taken_again_with_scaled_updates_are_those_of_another_rate(
    factor: float, donated: tuple[int, ...]
) -> None:
    step, optimizer = by_sgd(0.5)
    heard = watched(jax.jit(step, donate_argnums=donated))
    through(heard, optimizer, 16)
    slower, its_optimizer = by_sgd(0.5 * factor)
    expected = through(jax.jit(slower), its_optimizer, 6)

    rehearsal = heard._steps._rehearsal
    bench = rehearsal.lab(np.nan, 60.0)
    bench.check()
    arrays = rehearsal.state
    for number in range(6):
        arrays, _ = bench.taken(arrays, number, factor)

    again = [arrays[number] for number in rehearsal.weights]
    named = dict(zip(heard._steps._names, again, strict=True))
    assert np.allclose(named["hidden.w"], expected["hidden"]["w"], atol=1e-5)
    assert np.allclose(named["head.b"], expected["head"]["b"], atol=1e-5)


def test_a_rate_that_is_too_high_is_proven_by_a_lower_one_that_learns() -> None:
    step, optimizer = by_sgd(30.0)
    heard = watched(jax.jit(step))
    through(heard, optimizer, 80)
    heard.stop()

    (first,) = [one for one in heard.findings if one.rule == "learning-rate-too-high"]
    assert first.proof is not None
    assert first.proof.verdict == "cured"
    assert first.proof.treatment == "learning rate times 0.1" or "0.01" in first.proof.treatment


def test_a_model_of_nnx_is_taken_again_as_well() -> None:
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.hidden = nnx.Linear(5, 8, rngs=rngs)
            self.head = nnx.Linear(8, 2, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.head(nnx.relu(self.hidden(x)))

    def train(rate: float, steps: int, watch: bool) -> Any:
        model = Net(nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, optax.sgd(rate), wrt=nnx.Param)

        @nnx.jit
        def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
            def of(model: Any) -> Any:
                return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

            loss, gradients = nnx.value_and_grad(of)(model)
            optimizer.update(model, gradients)
            return loss

        if watch:
            step = watched(step)
        for number in range(steps):
            rows = np.random.default_rng(number).permutation(64)[:16]
            step(model, optimizer, X[rows], Y[rows])
        return step, np.asarray(model.head.kernel[...])

    heard, _ = train(0.5, 16, True)
    expected = train(0.05, 6, False)[1]

    rehearsal = heard._steps._rehearsal
    bench = rehearsal.lab(np.nan, 60.0)
    bench.check()
    arrays = rehearsal.state
    for number in range(6):
        arrays, _ = bench.taken(arrays, number, 0.1)
    named = dict(zip(heard._steps._names, rehearsal.weights, strict=True))
    assert np.allclose(arrays[named["head.kernel"]], expected, atol=1e-5)
