import lightning as L
import torch

from stethoscope.adapters.lightning import Callback


class Line(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def training_step(self, batch, number):
        x, y = batch
        return torch.nn.functional.mse_loss(self.layer(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


x = torch.randn(512, 3)
data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
callback = Callback()
trainer = L.Trainer(
    max_epochs=5, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    callbacks=[callback],
)  # fmt: skip
trainer.fit(Line(), torch.utils.data.DataLoader(data, batch_size=16, shuffle=True))
print("steps heard:", callback.heard.history.steps, "findings:", [one.rule for one in callback.findings])
