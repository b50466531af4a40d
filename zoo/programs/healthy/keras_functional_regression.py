"""The Functional API on the diabetes data: two inputs, a linear head, mean squared error, early stopping."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)

X, y = load_diabetes(return_X_y=True, scaled=False)
X = (X - X.mean(axis=0)) / X.std(axis=0)
y = (y - y.mean()) / y.std()
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed)

person = keras.Input((4,), name="person")
blood = keras.Input((6,), name="blood")
a = layers.Dense(8, activation="relu")(person)
b = layers.Dense(8, activation="relu")(blood)
joined = layers.Concatenate()([a, b])
output = layers.Dense(1, name="progression")(joined)
model = keras.Model(inputs=[person, blood], outputs=output)

model.compile(optimizer=keras.optimizers.Adam(0.005), loss="mse", metrics=["mae"])
stop = keras.callbacks.EarlyStopping(patience=8, restore_best_weights=True)
model.fit(
    {"person": X_train[:, :4], "blood": X_train[:, 4:]},
    y_train,
    validation_split=0.2,
    epochs=60,
    batch_size=32,
    callbacks=[stop],
    verbose=0,
)
print(model.evaluate([X_test[:, :4], X_test[:, 4:]], y_test, verbose=0))
