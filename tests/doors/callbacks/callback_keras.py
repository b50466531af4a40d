import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np

from stethoscope.adapters.keras import Callback

x = np.random.randn(512, 3).astype("float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.1), loss="mse")
callback = Callback()
model.fit(x, x.sum(1, keepdims=True), batch_size=16, epochs=5, verbose=0, callbacks=[callback])
print("steps heard:", callback.heard.history.steps, "findings:", [one.rule for one in callback.findings])
