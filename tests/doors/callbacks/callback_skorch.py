import numpy as np
import torch
from skorch import NeuralNetRegressor

from stethoscope.adapters.skorch import Callback

x = np.random.randn(512, 3).astype(np.float32)
net = NeuralNetRegressor(
    torch.nn.Linear, module__in_features=3, module__out_features=1, lr=0.1, max_epochs=5, batch_size=16,
    iterator_train__shuffle=True, verbose=0, callbacks=[("stethoscope", Callback())],
)  # fmt: skip
net.fit(x, x.sum(1, keepdims=True))
callback = dict(net.callbacks_)["stethoscope"]
print("steps heard:", callback.heard.history.steps, "findings:", [one.rule for one in callback.findings])
