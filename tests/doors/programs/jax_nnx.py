# needs: jax, flax, optax
# heard through: train_step
"""Flax NNX: a model and an optimizer that a jitted step changes in place."""

import os

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import stethoscope

random = np.random.default_rng(int(os.environ.get("SEED", 0)))


class Net(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(64, 64, rngs=rngs)
        self.second = nnx.Linear(64, 64, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)
        self.head = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        x = self.drop(nnx.relu(self.second(nnx.relu(self.first(x)))))
        # plant softmax-before-cross-entropy: return nnx.softmax(self.head(x))
        return self.head(x)


def loss_of(model, batch):
    scores = model(batch["image"])
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch["label"]).mean()


@nnx.jit
def train_step(model, optimizer, batch):
    loss, gradients = nnx.value_and_grad(loss_of)(model, batch)
    # plant missing-optimizer-step: del gradients
    optimizer.update(model, gradients)
    return loss


x, y = load_digits(return_X_y=True)
x = ((x - x.mean()) / x.std()).astype(np.float32)
# plant labels-unrelated-to-inputs: y = random.permutation(y)
y = y.astype(np.int32)
model = Net(nnx.Rngs(int(os.environ.get("SEED", 0))))
# plant learning-rate-too-high: optimizer = nnx.Optimizer(model, optax.adam(1.0), wrt=nnx.Param)
optimizer = nnx.Optimizer(model, optax.adam(2e-3), wrt=nnx.Param)
train_step = stethoscope.watch_jax(train_step)
for _ in range(8):
    order = random.permutation(len(x))
    for start in range(0, len(x) - 32, 32):
        rows = order[start : start + 32]
        loss = train_step(model, optimizer, {"image": jnp.asarray(x[rows]), "label": jnp.asarray(y[rows])})
print("loss", float(loss))
