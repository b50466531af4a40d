# fault: bce-without-sigmoid
# about: binary_crossentropy of 5 and more that hardly moves.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

keras.utils.set_random_seed(SEED)
X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)

model = keras.Sequential()
model.add(layers.Dense(16, activation="relu"))
model.add(layers.Dense(1))  # fix: model.add(layers.Dense(1, activation="sigmoid"))
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(X, y, epochs=12, batch_size=32, validation_split=0.2, verbose=0)
result = model.evaluate(X, y, verbose=0)
print('metric accuracy', result[1], 'higher')
