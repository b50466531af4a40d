# fault: training-in-eval-mode
# about: Batch normalization that never learns its statistics: a loop that calls model(x) without training=True.
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(SEED)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=64, shuffle=True)

model = keras.Sequential([layers.Input((64,))])
for _ in range(3):
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.BatchNormalization())
    model.add(layers.Dropout(0.2))
model.add(layers.Dense(10))
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.SGD(learning_rate=0.05, momentum=0.9)

for epoch in range(8):
    for images, labels in loader:
        scores = model(images)  # fix: scores = model(images, training=True)
        loss = loss_fn(labels, scores)
        model.zero_grad()
        loss.backward()
        gradients = [v.value.grad for v in model.trainable_weights]
        with torch.no_grad():
            optimizer.apply(gradients, model.trainable_weights)
print('metric loss', float(loss), 'lower')
