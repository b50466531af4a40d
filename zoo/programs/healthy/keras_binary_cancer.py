"""A Keras binary classifier on scaled tables: sigmoid head, class weights, AUC."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=seed)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

model = keras.Sequential(
    [
        layers.Input((30,)),
        layers.Dense(16, activation="relu"),
        layers.Dense(8, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy", keras.metrics.AUC(name="auc")])
model.fit(X_train, y_train, epochs=15, batch_size=16, class_weight={0: 1.7, 1: 1.0}, verbose=0)
print(model.evaluate(X_test, y_test, verbose=0))
predictions = (model.predict(X_test, verbose=0) > 0.5).astype(int)
print((predictions[:, 0] == y_test).mean())
