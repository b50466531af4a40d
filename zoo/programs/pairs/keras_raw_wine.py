# fault: unnormalized-input
# about: Wine is not learned: raw columns from 0.1 to 1,700.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from keras import layers
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

keras.utils.set_random_seed(SEED)
X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=SEED)
scaler = StandardScaler().fit(X_train)
# add: X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

model = keras.Sequential(
    [layers.Input((13,)), layers.Dense(16, activation="relu"), layers.Dense(3, activation="softmax")]
)
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.05), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
)
model.fit(X_train, y_train, epochs=30, batch_size=16, validation_data=(X_test, y_test), verbose=0)
result = model.evaluate(X_test, y_test, verbose=0)
print('metric accuracy', result[1], 'higher')
