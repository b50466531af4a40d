# needs: lightning
"""Lightning's Trainer: a module with a body and a head, a data loader each, validation after every epoch."""

import logging
import os
import warnings

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L.seed_everything(int(os.environ.get("SEED", 0)), verbose=False)


class Digits(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        # plant softmax-before-cross-entropy: return self.head(self.body(x)).softmax(dim=1)
        return self.head(self.body(x))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.log("val_loss", F.cross_entropy(logits, y))
        self.log("val_acc", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        # plant learning-rate-too-high: return torch.optim.Adam(self.parameters(), lr=1.0)
        # plant parameters-not-in-optimizer: return torch.optim.Adam(self.head.parameters(), lr=2e-3)
        return torch.optim.Adam(self.parameters(), lr=2e-3)


raw = load_digits()
images = torch.tensor((raw.data - raw.data.mean()) / raw.data.std(), dtype=torch.float32)
labels = torch.tensor(raw.target)
order = torch.randperm(len(labels))
train_set = TensorDataset(images[order[:1400]], labels[order[:1400]])
val_set = TensorDataset(images[order[1400:]], labels[order[1400:]])
trainer = L.Trainer(
    max_epochs=8, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, gradient_clip_val=5.0,
)  # fmt: skip
trainer.fit(Digits(), DataLoader(train_set, batch_size=32, shuffle=True), DataLoader(val_set, batch_size=100))
print({name: round(float(value), 4) for name, value in trainer.callback_metrics.items()})
