# fault: badly-scaled-initialization
# about: Keras layers with RandomNormal(stddev=1) kernels.
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
from sklearn.datasets import load_digits

keras.utils.set_random_seed(SEED)
d = load_digits()
x, y = d.data.astype("float32") / 16.0, d.target
start = keras.initializers.RandomNormal(stddev=1.0)  # fix: start = keras.initializers.HeNormal()
model = keras.Sequential([keras.layers.Input((64,))])
for width in (128, 128, 64):
    model.add(keras.layers.Dense(width, activation="relu", kernel_initializer=start))
model.add(keras.layers.Dense(10, activation="softmax", kernel_initializer=start))
model.compile(optimizer=keras.optimizers.SGD(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x[:1400], y[:1400], batch_size=32, epochs=5, verbose=0)
print("metric loss", model.evaluate(x[1400:], y[1400:], verbose=0)[0], "lower")
