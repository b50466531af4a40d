# fault: cross-entropy-without-softmax
# about: A convolutional network with one-hot labels that does not learn: relu on its last layer.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(SEED)
digits = load_digits()
x = digits.images[..., None] / 16.0
y = keras.utils.to_categorical(digits.target)

model = keras.Sequential(
    [
        layers.Input((8, 8, 1)),
        layers.Conv2D(16, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(32, activation="relu"),
        layers.Dense(10, activation="relu"),  # fix: layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(0.001), loss="categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=8, batch_size=64, validation_split=0.15, verbose=0)
result = model.evaluate(x, y, verbose=0)
print('metric accuracy', result[1], 'higher')
