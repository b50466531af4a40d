# fault: missing-zero-grad
# about: manual optimization in Lightning, where clearing the gradients is one's own job
# needs: lightning
import logging
import warnings

import lightning as L
import torch
from sklearn.datasets import load_diabetes
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L.seed_everything(SEED, verbose=False)
raw = load_diabetes()
x = torch.tensor(raw.data * 20, dtype=torch.float32)
y = torch.tensor((raw.target - 152) / 77, dtype=torch.float32)[:, None]


class Regressor(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.body = torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))

    def training_step(self, batch, idx):
        rows, target = batch
        optimizer = self.optimizers()
        loss = torch.nn.functional.mse_loss(self.body(rows), target)
        # add: optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.03)


model = Regressor()
trainer = L.Trainer(
    max_epochs=25, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False,
)  # fmt: skip
trainer.fit(model, DataLoader(TensorDataset(x[:340], y[:340]), batch_size=34, shuffle=True))
with torch.no_grad():
    print("metric mse", torch.nn.functional.mse_loss(model.body(x[340:]), y[340:]).item(), "lower")
