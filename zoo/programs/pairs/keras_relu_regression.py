# fault: output-activation-limits-range
# about: A regression whose loss stays at half of the variance: a relu on the output and standardized targets.
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
model.add(layers.Dense(32, activation="relu"))
model.add(layers.Dense(1, activation="relu"))  # fix: model.add(layers.Dense(1))
model.compile(loss="mean_squared_error", optimizer="adam", metrics=["mae"])
model.fit(X, y, epochs=30, batch_size=16, validation_split=0.2, verbose=0)
result = model.evaluate(X, y, verbose=0)
print('metric loss', result if isinstance(result, float) else result[0], 'lower')
