# fault: overfitting
"""Training accuracy 1.0 while val_loss climbs."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

keras.utils.set_random_seed(SEED)
x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16.0, y, train_size=100, random_state=SEED)
x_train, y_train = x_train, y_train % 7 * (x_train[:, 20] > 0.3)
y_test = y_test % 7 * (x_test[:, 20] > 0.3)

model = keras.Sequential(
    [layers.Input((64,)), layers.Dense(256, activation="relu"), layers.Dense(256, activation="relu")]
)
model.add(layers.Dense(7, activation="softmax"))
model.compile(optimizer=keras.optimizers.Adam(0.003), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
stop = keras.callbacks.EarlyStopping(patience=4, restore_best_weights=True)
# add: model.fit(x_train, y_train, epochs=80, validation_data=(x_test, y_test), callbacks=[stop], verbose=0)
model.fit(x_train, y_train, epochs=80, validation_data=(x_test, y_test), verbose=0)  # fix:
print(model.evaluate(x_test, y_test, verbose=0))
