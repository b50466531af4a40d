"""A loss function of the script's own, with keras.ops, and a cosine schedule."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers, ops
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)


def quantile_loss(y_true, y_pred):
    error = y_true - y_pred
    return ops.mean(ops.maximum(0.7 * error, -0.3 * error), axis=-1)


X, y = load_diabetes(return_X_y=True)
X = X / X.std(axis=0)
y = (y - y.mean()) / y.std()
X_train, X_test, y_train, y_test = train_test_split(X, y.reshape(-1, 1), random_state=seed)

schedule = keras.optimizers.schedules.CosineDecay(0.01, decay_steps=600)
model = keras.Sequential([layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(schedule), loss=quantile_loss)
model.fit(X_train, y_train, epochs=40, batch_size=32, validation_data=(X_test, y_test), verbose=0)
print(model.evaluate(X_test, y_test, verbose=0))
