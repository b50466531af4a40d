"""A Keras autoencoder of digits: sigmoid decoder, binary cross-entropy on pixels, the encoder used alone after it."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_digits

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)

x = load_digits().data.astype("float32") / 16.0

image = keras.Input((64,))
code = layers.Dense(16, activation="relu")(layers.Dense(48, activation="relu")(image))
encoder = keras.Model(image, code, name="encoder")
latent = keras.Input((16,))
decoder = keras.Model(
    latent, layers.Dense(64, activation="sigmoid")(layers.Dense(48, activation="relu")(latent)), name="decoder"
)
autoencoder = keras.Model(image, decoder(encoder(image)), name="autoencoder")

autoencoder.compile(optimizer="adam", loss="binary_crossentropy")
autoencoder.fit(x, x, epochs=15, batch_size=64, shuffle=True, validation_split=0.1, verbose=0)
codes = encoder.predict(x, verbose=0)
print(codes.shape, autoencoder.evaluate(x, x, verbose=0))
