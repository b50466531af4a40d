"""A Keras LSTM that reads the digits row by row, with logits and a loss object."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)

digits = load_digits()
x_train, x_test, y_train, y_test = train_test_split(digits.images / 16.0, digits.target, random_state=seed)

model = keras.Sequential([layers.Input((8, 8)), layers.LSTM(48), layers.Dense(10)])
model.compile(
    optimizer=keras.optimizers.Adam(0.005, clipnorm=1.0),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy()],
)
model.fit(x_train, y_train, batch_size=64, epochs=8, validation_data=(x_test, y_test), verbose=0)
print(model.evaluate(x_test, y_test, verbose=0, return_dict=True))
