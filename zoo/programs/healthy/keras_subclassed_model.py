"""A subclassed Keras model with dropout and a `training` argument; its rate is reduced on plateaus."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)


class WineNet(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(24, activation="tanh")
        self.dropout = layers.Dropout(0.2)
        self.out = layers.Dense(3, activation="softmax")

    def call(self, inputs, training=False):
        x = self.hidden(inputs)
        x = self.dropout(x, training=training)
        return self.out(x)


X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=seed)
scaler = StandardScaler()
X_train = scaler.fit_transform(X_train)
X_test = scaler.transform(X_test)

model = WineNet()
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
reduce = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=4)
model.fit(X_train, y_train, validation_data=(X_test, y_test), epochs=25, batch_size=16, callbacks=[reduce], verbose=0)
model.summary()
print(model.evaluate(X_test, y_test, verbose=0))
