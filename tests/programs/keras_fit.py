"""Keras on torch: dropout, batch normalization, validation, a callback, steps by hand, and a prediction."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from callbacks_of import quietly, watched
from fingerprint import print_fingerprints
from keras import layers

keras.utils.set_random_seed(1)
x = np.random.randn(300, 10).astype("float32")
y = (x[:, 0] + x[:, 1] > 0).astype("int64")
model = keras.Sequential(
    [
        layers.Dense(16, activation="relu"),
        layers.BatchNormalization(),
        layers.Dropout(0.3),
        layers.Dense(2, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
reduce = keras.callbacks.ReduceLROnPlateau(patience=1)
callbacks = [reduce]
if watched:
    from stethoscope.adapters.keras import Callback

    callbacks.append(Callback(**quietly))
log = model.fit(x, y, epochs=4, batch_size=16, validation_split=0.2, callbacks=callbacks, verbose=0)
losses = [value for values in log.history.values() for value in map(float, values)]
for start in range(0, 90, 30):
    losses.append(float(model.train_on_batch(x[start : start + 30], y[start : start + 30])[0]))
outputs = [model.predict(x, verbose=0), *(v.value for v in model.optimizer.variables)]
print_fingerprints(models=[model], losses=losses, outputs=outputs)
