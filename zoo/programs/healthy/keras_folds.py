"""Three folds, each with a Keras model and an optimizer of its own, built by a function."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)


def build_model():
    model = keras.Sequential()
    model.add(layers.Dense(24, activation="relu"))
    model.add(layers.Dropout(0.1))
    model.add(layers.Dense(1, activation="sigmoid"))
    model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    return model


X, y = load_breast_cancer(return_X_y=True)
scores = []
for train, test in StratifiedKFold(3, shuffle=True, random_state=seed).split(X, y):
    scaler = StandardScaler().fit(X[train])
    model = build_model()
    model.fit(scaler.transform(X[train]), y[train], epochs=10, batch_size=16, verbose=0)
    scores.append(model.evaluate(scaler.transform(X[test]), y[test], verbose=0)[1])
    keras.backend.clear_session()
print([round(score, 3) for score in scores])
