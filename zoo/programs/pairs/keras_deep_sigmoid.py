# fault: vanishing-gradients
# about: Eight sigmoid layers that learn nothing.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(SEED)
x, y = load_digits(return_X_y=True)
x = (x - x.mean()) / x.std()
hidden = "sigmoid"  # fix: hidden = "relu"

model = keras.Sequential([layers.Input((64,))])
for _ in range(8):
    model.add(layers.Dense(32, activation=hidden))
model.add(layers.Dense(10, activation="softmax"))
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.05, momentum=0.9),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
model.fit(x, y, epochs=10, batch_size=64, verbose=0)
result = model.evaluate(x, y, verbose=0)
print('metric accuracy', result[1], 'higher')
