# fault: softmax-before-cross-entropy
# about: a LightningModule whose forward returns probabilities for its users, and whose training step feeds them to cross_entropy
# needs: lightning
import logging
import warnings

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L.seed_everything(SEED, verbose=False)
raw = load_digits()
x = torch.tensor(raw.data / 16, dtype=torch.float32)
y = torch.tensor(raw.target)
order = torch.randperm(len(y))
train, test = order[:1300], order[1300:]


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.fc1 = torch.nn.Linear(64, 64)
        self.fc2 = torch.nn.Linear(64, 10)

    def forward(self, x):
        return F.softmax(self.fc2(F.relu(self.fc1(x))), dim=1)  # fix:         return self.fc2(F.relu(self.fc1(x)))

    def training_step(self, batch, idx):
        images, labels = batch
        return F.cross_entropy(self(images), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


net = Classifier()
trainer = L.Trainer(
    max_epochs=8, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False,
)  # fmt: skip
trainer.fit(net, DataLoader(TensorDataset(x[train], y[train]), batch_size=50, shuffle=True))
net.eval()
with torch.no_grad():
    print("metric accuracy", (net(x[test]).argmax(1) == y[test]).float().mean().item(), "higher")
