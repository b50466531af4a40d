"""The training loops through the doors that torch does not train behind: JAX, and Keras on JAX or TensorFlow.

Each gives a `Patient`: the same small network as in `door_loops.py`, and a listener that can be taken off and put on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from door_loops import BATCH, CLASSES, FEATURES, RATE, Clock, Enough

import stethoscope

ONE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
BATCHES = 2000
"""Of an epoch of Keras: so many that its ends count for nothing."""


@dataclass
class Patient:
    """A training and its listener."""

    train: Callable[[Clock], None]
    """Ends when the clock throws `Enough`."""
    heard: Callable[[], stethoscope.Watch]
    """Its listener, once it has begun."""
    listen: Callable[[bool], None]
    """Goes on with listening, or has the training run as if we were not there."""


def data(batches: int) -> tuple[Any, Any]:
    """Rows and classes that have nothing to do with each other."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((batches * BATCH, FEATURES), dtype=np.float32)
    return rows, random.integers(CLASSES, size=len(rows)).astype(np.int32)


def jax_pytrees() -> Patient:
    """A jitted step on a dictionary of arrays, with Optax."""
    import jax
    import jax.numpy as jnp
    import optax

    optimizer = optax.adamw(RATE)
    sizes = (FEATURES, 256, 256, CLASSES)
    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        f"layer{number}": {"w": jax.random.normal(key, (wide, out)) * wide**-0.5, "b": jnp.zeros(out)}
        for number, (key, wide, out) in enumerate(zip(keys, sizes, sizes[1:], strict=False))
    }

    @jax.jit
    def step(params: Any, state: Any, x: Any, y: Any) -> Any:
        def loss_of(params: Any) -> Any:
            *hidden, head = params.values()
            inner = x
            for layer in hidden:
                inner = jax.nn.relu(inner @ layer["w"] + layer["b"])
            scores = inner @ head["w"] + head["b"]
            return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

        loss, gradients = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    watched = stethoscope.watch_jax(step, proof=False)
    taken = [watched]
    x, y = data(16)
    batches = [(jnp.asarray(x[at : at + BATCH]), jnp.asarray(y[at : at + BATCH])) for at in range(0, len(x), BATCH)]

    def train(clock: Clock) -> None:
        now, state, number = params, optimizer.init(params), 0
        while True:
            clock.tick()
            now, state, loss = taken[0](now, state, *batches[number % 16])
            loss.block_until_ready()
            number += 1

    return Patient(train, lambda: watched, _switch(watched, step, taken))


def jax_nnx() -> Patient:
    """Flax NNX: a jitted step that changes a model and an optimizer."""
    import jax.numpy as jnp
    import optax
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.first = nnx.Linear(FEATURES, 256, rngs=rngs)
            self.second = nnx.Linear(256, 256, rngs=rngs)
            self.head = nnx.Linear(256, CLASSES, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.head(nnx.relu(self.second(nnx.relu(self.first(x)))))

    def loss_of(model: Any, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    @nnx.jit
    def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, gradients = nnx.value_and_grad(loss_of)(model, x, y)
        optimizer.update(model, gradients)
        return loss

    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adamw(RATE), wrt=nnx.Param)
    watched = stethoscope.watch_jax(step, proof=False)
    taken = [watched]
    x, y = data(16)
    batches = [(jnp.asarray(x[at : at + BATCH]), jnp.asarray(y[at : at + BATCH])) for at in range(0, len(x), BATCH)]

    def train(clock: Clock) -> None:
        number = 0
        while True:
            clock.tick()
            taken[0](model, optimizer, *batches[number % 16]).block_until_ready()
            number += 1

    return Patient(train, lambda: watched, _switch(watched, step, taken))


def _switch(watched: Any, step: Any, taken: list[Any]) -> Callable[[bool], None]:
    def listen(on: bool) -> None:
        taken[0] = watched if on else step
        watched._session._began = time.perf_counter()

    return listen


def keras_jax() -> Patient:
    """Keras on JAX."""
    return _keras("jax")


def keras_tensorflow() -> Patient:
    """Keras on TensorFlow."""
    return _keras("tensorflow")


def _keras(backend: str) -> Patient:
    os.environ["KERAS_BACKEND"] = backend
    import keras
    from keras import layers

    from stethoscope.adapters.keras import Callback

    class Ticking(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self, clock: Clock) -> None:
            super().__init__()
            self._clock = clock

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            at[0] = batch
            self._clock.tick()

    model = keras.Sequential(
        [keras.Input((FEATURES,)), layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(CLASSES)]
    )  # fmt: skip
    model.compile(keras.optimizers.AdamW(RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callback = Callback(report=False, proof=False)
    at = [0]

    def train(clock: Clock) -> None:
        model.fit(*data(BATCHES), batch_size=BATCH, epochs=1000, verbose=0, callbacks=[callback, Ticking(clock)])

    def listen(on: bool) -> None:
        fit = callback._fit
        assert fit is not None
        if on:
            fit.listen()
            fit._steps_of_epoch, fit._last_mean, fit._session._began = at[0], float("nan"), time.perf_counter()
        else:
            fit.leave()
            fit._session._settle()  # the losses so far are told from means without a gap

    return Patient(train, lambda: callback.heard, listen)


LOOPS: dict[str, tuple[Callable[[], Patient], tuple[str, ...]]] = {
    "jax_pytrees": (jax_pytrees, ("jax", "optax")),
    "jax_nnx": (jax_nnx, ("jax", "flax", "optax")),
    "keras_jax": (keras_jax, ("keras", "jax")),
    "keras_tensorflow": (keras_tensorflow, ("keras", "tensorflow")),
}
"""By the names of docs/doors.md, as in `door_loops.py`."""


def run(patient: Patient, clock: Clock) -> None:
    """Train until the clock is at its end."""
    try:
        patient.train(clock)
    except Enough:
        return
    raise RuntimeError("the training ended before its clock did")
