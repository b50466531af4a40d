"""A one-dimensional convolutional forecaster of a noisy sine, fed by a torch DataLoader."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from keras import layers

seed = int(os.environ.get("SEED", 0))
keras.utils.set_random_seed(seed)

t = np.arange(1500)
series = np.sin(t / 8.0) + 0.5 * np.sin(t / 23.0) + 0.05 * np.random.randn(len(t))
windows = np.stack([series[i : i + 24] for i in range(len(series) - 24)]).astype("float32")[..., None]
targets = series[24:].astype("float32")[:, None]
train = torch.utils.data.TensorDataset(torch.tensor(windows[:1200]), torch.tensor(targets[:1200]))
test = torch.utils.data.TensorDataset(torch.tensor(windows[1200:]), torch.tensor(targets[1200:]))

model = keras.Sequential(
    [
        layers.Input((24, 1)),
        layers.Conv1D(16, 5, activation="relu", padding="causal"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(16, activation="relu"),
        layers.Dense(1),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=keras.losses.Huber(), metrics=["mae"])
model.fit(
    torch.utils.data.DataLoader(train, batch_size=32, shuffle=True),
    validation_data=torch.utils.data.DataLoader(test, batch_size=64),
    epochs=10,
    verbose=0,
)
print(model.predict(windows[-3:], verbose=0).shape)
