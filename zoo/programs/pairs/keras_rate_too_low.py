# fault: learning-rate-too-low
# about: The loss is the same after every epoch.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(SEED)
x, y = load_digits(return_X_y=True)
x = x / 16.0


def create_model():
    model = keras.Sequential()
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    sgd = keras.optimizers.SGD(learning_rate=0.00001)  # fix: sgd = keras.optimizers.SGD(learning_rate=0.1)
    model.compile(loss="sparse_categorical_crossentropy", optimizer=sgd, metrics=["accuracy"])
    return model


model = create_model()
model.fit(x, y, epochs=8, batch_size=32, validation_split=0.2, verbose=0)
result = model.evaluate(x, y, verbose=0)
print('metric accuracy', result[1], 'higher')
