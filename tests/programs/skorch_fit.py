"""skorch: fit with its own validation split, then more epochs by `partial_fit`, and predictions."""

import numpy as np
import torch
from callbacks_of import quietly, watched
from fingerprint import print_fingerprints, seed_everything
from skorch import NeuralNetClassifier
from torch import nn

seed_everything(1)
x = np.random.randn(300, 10).astype(np.float32)
y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)
callbacks = []
if watched:
    from stethoscope.adapters.skorch import Callback

    callbacks = [("stethoscope", Callback(**quietly))]
net = NeuralNetClassifier(
    nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2)),
    criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, lr=1e-2, max_epochs=3, batch_size=16,
    iterator_train__shuffle=True, verbose=0, callbacks=callbacks,
)  # fmt: skip
net.fit(x, y)
net.partial_fit(x, y)
losses = [float(epoch[name]) for epoch in net.history for name in ("train_loss", "valid_loss")]
print_fingerprints(models=[net.module_], optimizers=[net.optimizer_], losses=losses, outputs=[net.predict_proba(x)])
