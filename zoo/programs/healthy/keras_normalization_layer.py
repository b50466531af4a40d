"""Raw tables into a Normalization layer that was adapted to them, inside of the model; fit is called epoch by epoch."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)

X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=seed)

normalize = layers.Normalization()
normalize.adapt(X_train)
model = keras.Sequential([layers.Input((13,)), normalize, layers.Dense(16, activation="relu"), layers.Dense(3)])
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.05, momentum=0.9),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
for epoch in range(20):
    model.fit(X_train, y_train, batch_size=16, epochs=1, verbose=0)
    loss, accuracy = model.evaluate(X_test, y_test, verbose=0)
print(f"test accuracy {accuracy:.3f}")
