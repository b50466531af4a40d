"""A Keras network trained on one half of the classes, frozen, and given a new head for the other half."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_digits

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)

x, y = load_digits(return_X_y=True)
x = x / 16.0
low, high = y < 5, y >= 5

base = keras.Sequential(
    [layers.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(32, activation="relu")], name="base"
)
first = keras.Sequential([base, layers.Dense(5, activation="softmax")])
first.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
first.fit(x[low], y[low], epochs=10, batch_size=32, validation_split=0.1, verbose=0)

base.trainable = False
second = keras.Sequential([base, layers.Dense(5, activation="softmax")])
second.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
second.fit(x[high], y[high] - 5, epochs=10, batch_size=32, validation_split=0.1, verbose=0)

base.trainable = True
second.compile(optimizer=keras.optimizers.Adam(0.0005), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
second.fit(x[high], y[high] - 5, epochs=8, batch_size=32, validation_split=0.1, verbose=0)
print(second.evaluate(x[high], y[high] - 5, verbose=0))
