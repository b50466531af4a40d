# fault: sigmoid-before-bce-with-logits
# about: The loss of a binary classifier stops at 0.48.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

keras.utils.set_random_seed(SEED)
X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)

inputs = keras.Input((30,))
hidden = layers.Dense(16, activation="relu")(inputs)
outputs = layers.Dense(1, activation="sigmoid")(hidden)  # fix: outputs = layers.Dense(1)(hidden)
model = keras.Model(inputs, outputs)
model.compile(optimizer="adam", loss=keras.losses.BinaryCrossentropy(from_logits=True))
history = model.fit(X, y, epochs=15, batch_size=16, validation_split=0.2, verbose=0)
print('metric loss', history.history['loss'][-1], 'lower')
