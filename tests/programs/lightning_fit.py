"""Lightning's Trainer: dropout, batch normalization, clipping, accumulation, a schedule, validation."""

import logging
import warnings

import lightning as L
import torch
from callbacks_of import quietly, watched
from fingerprint import print_fingerprints
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)
L.seed_everything(1, verbose=False)
x = torch.randn(300, 10)
y = (x[:, 0] + x[:, 1] > 0).long()
losses = []


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, number):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        losses.append(loss.item())
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, number):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2)]


callbacks = []
if watched:
    from stethoscope.adapters.lightning import Callback

    callbacks = [Callback(**quietly)]
trainer = L.Trainer(
    max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, gradient_clip_val=1.0, accumulate_grad_batches=2, callbacks=callbacks,
)  # fmt: skip
model = Classifier()
loader = DataLoader(TensorDataset(x[:240], y[:240]), batch_size=16, shuffle=True)
trainer.fit(model, loader, DataLoader(TensorDataset(x[240:], y[240:]), batch_size=30))
print_fingerprints(models=[model], losses=losses, outputs=[trainer.callback_metrics["val_loss"]])
