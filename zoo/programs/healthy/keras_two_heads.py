"""A Keras model with two outputs and two losses: the digit and whether it is even."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers, regularizers
from sklearn.datasets import load_digits

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)

x, y = load_digits(return_X_y=True)
x = x / 16.0

inputs = keras.Input((64,))
shared = layers.Dense(64, activation="relu", kernel_regularizer=regularizers.l2(1e-4))(inputs)
shared = layers.LayerNormalization()(shared)
digit = layers.Dense(10, activation="softmax", name="digit")(shared)
even = layers.Dense(1, activation="sigmoid", name="even")(shared)
model = keras.Model(inputs, {"digit": digit, "even": even})
model.compile(
    optimizer="adamw",
    loss={"digit": "sparse_categorical_crossentropy", "even": "binary_crossentropy"},
    loss_weights={"digit": 1.0, "even": 0.5},
    metrics={"digit": "accuracy", "even": "accuracy"},
)
model.fit(x, {"digit": y, "even": (y % 2 == 0).astype("float32")}, epochs=12, batch_size=32, verbose=0)
print(model.evaluate(x, {"digit": y, "even": (y % 2 == 0).astype("float32")}, verbose=0, return_dict=True))
