# fault: learning-rate-too-high
# about: loss: nan from the second epoch on.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_diabetes

keras.utils.set_random_seed(SEED)
X, y = load_diabetes(return_X_y=True)
X = X / X.std(axis=0)
y = (y - y.mean()) / y.std()

model = keras.Sequential()
model.add(layers.Input((10,)))
model.add(layers.Dense(64, activation="relu"))
model.add(layers.Dense(64, activation="relu"))
model.add(layers.Dense(1))
model.compile(
    loss="mse",
    optimizer=keras.optimizers.SGD(learning_rate=2.0),  # fix: optimizer=keras.optimizers.SGD(learning_rate=0.01),
)
model.fit(X, y, epochs=15, batch_size=32, verbose=0)
result = model.evaluate(X, y, verbose=0)
print('metric loss', result if isinstance(result, float) else result[0], 'lower')
