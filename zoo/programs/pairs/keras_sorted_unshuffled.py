# fault: unshuffled-data
# about: Sorted classes and shuffle=False.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(SEED)
x, y = load_digits(return_X_y=True)
order = np.argsort(y, kind="stable")
x, y = x[order] / 16.0, y[order]

model = keras.Sequential(
    [layers.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")]
)
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.1), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
)
# add: model.fit(x, y, epochs=10, batch_size=32, verbose=0)
model.fit(x, y, epochs=10, batch_size=32, shuffle=False, verbose=0)  # fix:
result = model.evaluate(x, y, verbose=0)
print('metric accuracy', result[1], 'higher')
