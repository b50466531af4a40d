# fault: dropout-too-strong
# about: Keras Dropout(0.9), read as the share to keep.
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

keras.utils.set_random_seed(SEED)
x, y = load_digits(return_X_y=True)
a, b, ya, yb = train_test_split((x / 16).astype("float32"), y, random_state=SEED)
inputs = keras.Input((64,))
h = layers.Dense(64, activation="relu")(inputs)
h = layers.Dropout(0.9)(h)  # fix: h = layers.Dropout(0.1)(h)
h = layers.Dense(32, activation="relu")(h)
h = layers.Dropout(0.9)(h)  # fix: h = layers.Dropout(0.1)(h)
model = keras.Model(inputs, layers.Dense(10, activation="softmax")(h))
model.compile(optimizer=keras.optimizers.Adam(2e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(a, ya, batch_size=32, epochs=8, validation_data=(b, yb), verbose=2)
print(f"metric accuracy {model.evaluate(b, yb, verbose=0)[1]:.4f} higher")
