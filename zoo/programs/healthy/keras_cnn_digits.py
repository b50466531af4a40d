"""A Keras convolutional network on digits: one-hot labels, batch normalization, validation_split."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_digits

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)

digits = load_digits()
images = digits.images[..., None].astype("float32") / 16.0
labels = keras.utils.to_categorical(digits.target, 10)

model = keras.Sequential()
model.add(layers.Input((8, 8, 1)))
model.add(layers.Conv2D(16, (3, 3), padding="same"))
model.add(layers.BatchNormalization())
model.add(layers.Activation("relu"))
model.add(layers.MaxPooling2D((2, 2)))
model.add(layers.Conv2D(32, (3, 3), activation="relu"))
model.add(layers.Flatten())
model.add(layers.Dense(32, activation="relu"))
model.add(layers.Dropout(0.3))
model.add(layers.Dense(10))
model.add(layers.Activation("softmax"))

model.compile(
    loss="categorical_crossentropy", optimizer=keras.optimizers.RMSprop(learning_rate=0.001), metrics=["accuracy"]
)
history = model.fit(images, labels, batch_size=64, epochs=8, validation_split=0.2, verbose=0)
print(f"validation accuracy {history.history['val_accuracy'][-1]:.3f}")
