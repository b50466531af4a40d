# needs: jax, optax
# heard through: train_step
"""Plain JAX and Optax: parameters in a dictionary, a pure step that returns the new ones, buffers given away."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import stethoscope

random = np.random.default_rng(int(os.environ.get("SEED", 0)))
# plant learning-rate-too-high: optimizer = optax.sgd(8.0, momentum=0.9)
optimizer = optax.sgd(0.02, momentum=0.9)


def drawn(key):
    keys = jax.random.split(key, 3)
    sizes = ((64, 64), (64, 64), (64, 10))
    layers = {}
    for name, one, size in zip(("first", "second", "head"), keys, sizes, strict=True):
        weights = jax.random.normal(one, size) * np.sqrt(2 / size[0])
        layers[name] = {"w": weights, "b": jnp.zeros(size[1])}
    return layers


def scores_of(params, x):
    for name in ("first", "second"):
        x = jax.nn.relu(x @ params[name]["w"] + params[name]["b"])
    # plant softmax-before-cross-entropy: return jax.nn.softmax(x @ params["head"]["w"] + params["head"]["b"])
    return x @ params["head"]["w"] + params["head"]["b"]


def loss_of(params, images, labels):
    return optax.softmax_cross_entropy(scores_of(params, images), jax.nn.one_hot(labels, 10)).mean()


# plant missing-optimizer-step: @jax.jit
@functools.partial(jax.jit, donate_argnums=(0, 1))
def train_step(params, opt_state, images, labels):
    loss, gradients = jax.value_and_grad(loss_of)(params, images, labels)
    updates, opt_state = optimizer.update(gradients, opt_state)
    return optax.apply_updates(params, updates), opt_state, {"loss": loss}


x, y = load_digits(return_X_y=True)
x = ((x - x.mean()) / x.std()).astype(np.float32)
# plant labels-unrelated-to-inputs: y = random.permutation(y)
y = y.astype(np.int32)
params = drawn(jax.random.key(int(os.environ.get("SEED", 0))))
opt_state = optimizer.init(params)
train_step = stethoscope.watch_jax(train_step)
for _ in range(8):
    order = random.permutation(len(x))
    for start in range(0, len(x) - 32, 32):
        rows = order[start : start + 32]
        # plant missing-optimizer-step: _, opt_state, told = train_step(params, opt_state, x[rows], y[rows])
        params, opt_state, told = train_step(params, opt_state, x[rows], y[rows])
print("loss", float(told["loss"]))
