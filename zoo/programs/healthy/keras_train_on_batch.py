"""A loop of train_on_batch over shuffled batches, tested after each epoch."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)

x, y = load_digits(return_X_y=True)
x = (x / 16.0).astype("float32")
order = np.random.permutation(len(x))
x, y = x[order], y[order]
x_train, x_test, y_train, y_test = x[:1400], x[1400:], y[:1400], y[1400:]

model = keras.Sequential(
    [layers.Dense(48, activation="relu"), layers.BatchNormalization(), layers.Dense(10, activation="softmax")]
)
model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.optimizer.learning_rate = 0.1

for epoch in range(8):
    order = np.random.permutation(len(x_train))
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        loss, accuracy = model.train_on_batch(x_train[rows], y_train[rows])
    loss, accuracy = model.test_on_batch(x_test, y_test)
    print(f"epoch {epoch}: test loss {loss:.3f}, accuracy {accuracy:.3f}")
