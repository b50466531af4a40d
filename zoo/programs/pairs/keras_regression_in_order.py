# fault: unshuffled-data
# about: Keras, a regression table sorted by its target, shuffle=False.
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np

keras.utils.set_random_seed(SEED)
rng = np.random.default_rng(SEED)
x = rng.normal(size=(900, 5)).astype("float32")
y = (np.sin(x[:, 0] * 2) + x[:, 1] * x[:, 2] + 0.1 * rng.normal(size=900)).astype("float32")
o = np.argsort(y)
x, y = x[o], y[o]
model = keras.Sequential([keras.layers.Input((5,)), keras.layers.Dense(48, activation="relu"), keras.layers.Dense(48, activation="relu"), keras.layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(0.005), loss="mse")
model.fit(x, y, batch_size=30, epochs=15, shuffle=False, verbose=0)  # fix: model.fit(x, y, batch_size=30, epochs=15, verbose=0)
print("metric mse", model.evaluate(x, y, verbose=0), "lower")
