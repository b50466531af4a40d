"""Ignite: a supervised trainer, a handler after each epoch, an evaluator with metrics."""

import torch
from callbacks_of import quietly, watched
from fingerprint import print_fingerprints, seed_everything
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Accuracy, Loss
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

seed_everything(1)
x = torch.randn(300, 10)
y = (x[:, 0] + x[:, 1] > 0).long()
model = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
trainer = create_supervised_trainer(model, optimizer, nn.functional.cross_entropy, gradient_accumulation_steps=2)
held_out = DataLoader(TensorDataset(x[240:], y[240:]), batch_size=30)
metrics = {"accuracy": Accuracy(), "loss": Loss(nn.functional.cross_entropy)}
evaluator = create_supervised_evaluator(model, metrics=metrics)
if watched:
    from stethoscope.adapters.ignite import attach

    attach(trainer, model, optimizer, **quietly)
losses = []
trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: losses.append(trainer.state.output))


@trainer.on(Events.EPOCH_COMPLETED)
def evaluate():
    evaluator.run(held_out)
    losses.extend(evaluator.state.metrics.values())


trainer.run(DataLoader(TensorDataset(x[:240], y[:240]), batch_size=16, shuffle=True), max_epochs=4)
print_fingerprints(models=[model], optimizers=[optimizer], losses=losses)
