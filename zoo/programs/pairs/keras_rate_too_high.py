# fault: learning-rate-too-high
# about: Accuracy of 10 % on digits, whatever the epochs: Adam with a rate of 1.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(SEED)
x, y = load_digits(return_X_y=True)
x = (x - x.mean()) / x.std()

model = keras.Sequential(
    [
        layers.Input((64,)),
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
opt = keras.optimizers.Adam(learning_rate=1.0)  # fix: opt = keras.optimizers.Adam(learning_rate=0.001)
model.compile(optimizer=opt, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=8, batch_size=64, validation_split=0.2, verbose=0)
result = model.evaluate(x, y, verbose=0)
print('metric accuracy', result[1], 'higher')
