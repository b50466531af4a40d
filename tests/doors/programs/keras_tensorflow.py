# needs: keras, tensorflow
# heard through: callback.heard
"""Keras on TensorFlow: `compile` and `fit`."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

from stethoscope.adapters.keras import Callback

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)
x, y = load_digits(return_X_y=True)
order = np.random.default_rng(seed).permutation(len(y))
x = ((x - x.mean()) / x.std()).astype("float32")[order]
# plant labels-unrelated-to-inputs: y = np.random.default_rng(seed + 1).permutation(y)
y = y[order]
# plant dying-relu: bias = keras.initializers.Constant(-30.0)
bias = keras.initializers.Zeros()
model = keras.Sequential(
    [
        keras.Input((64,)),
        layers.Dense(64, activation="relu", bias_initializer=bias),
        layers.Dropout(0.1),
        layers.Dense(64, activation="relu"),
        layers.BatchNormalization(),
        # plant softmax-before-cross-entropy: layers.Dense(10, activation="softmax"),
        layers.Dense(10),
    ]
)
# plant learning-rate-too-high: optimizer = keras.optimizers.Adam(1.0)
optimizer = keras.optimizers.Adam(2e-3)
model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
callback = Callback()
model.fit(
    x[:1400], y[:1400], batch_size=32, epochs=8, validation_data=(x[1400:], y[1400:]), verbose=0, callbacks=[callback]
)
