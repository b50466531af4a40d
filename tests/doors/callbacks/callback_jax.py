import jax
import jax.numpy as jnp
import numpy as np

import stethoscope


@jax.jit
def train_step(params, x, y):
    def loss_of(params):
        return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)

    loss, gradients = jax.value_and_grad(loss_of)(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), loss


train_step = stethoscope.watch_jax(train_step)
x = np.random.randn(512, 3).astype("float32")
params = {"w": jnp.zeros((3, 1)), "b": jnp.zeros(1)}
for _ in range(5):
    for rows in np.random.permutation(512).reshape(-1, 16):
        params, loss = train_step(params, x[rows], x[rows].sum(1, keepdims=True))
train_step.report()
print("steps heard:", train_step.history.steps, "findings:", [one.rule for one in train_step.findings])
