# fault: cross-entropy-without-softmax
# about: Loss of 2 to 14 that jumps, accuracy of a guess: the last layer has no activation.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(SEED)
x, y = load_digits(return_X_y=True)
x = x / 16.0

model = keras.Sequential()
model.add(layers.Input((64,)))
model.add(layers.Dense(64, activation="relu"))
model.add(layers.Dense(32, activation="relu"))
model.add(layers.Dense(10))  # fix: model.add(layers.Dense(10, activation="softmax"))
model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(x, y, epochs=8, batch_size=32, verbose=0)
result = model.evaluate(x, y, verbose=0)
print('metric accuracy', result[1], 'higher')
