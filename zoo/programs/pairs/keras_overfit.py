# fault: overfitting
# about: Training accuracy of 1.0 while val_loss climbs: a large network on 120 rows with some labels wrong.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(SEED)
x, y = load_digits(return_X_y=True)
order = np.random.permutation(len(x))
x, y = x[order] / 16.0, y[order]
x_train, y_train, x_test, y_test = x[:120], y[:120].copy(), x[120:520], y[120:520]
y_train[:60] = np.random.randint(0, 10, 60)

model = keras.Sequential(
    [
        layers.Input((64,)),
        layers.Dense(256, activation="relu"),
        layers.Dense(256, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(0.001), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
checks = []  # fix: checks = [stop]
held_out = (x_test, y_test)
model.fit(x_train, y_train, epochs=60, validation_data=held_out, validation_batch_size=400, callbacks=checks, verbose=0)
result = model.evaluate(x_test, y_test, verbose=0)
print('metric accuracy', result[1], 'higher')
