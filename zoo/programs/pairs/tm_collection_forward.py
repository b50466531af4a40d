# fault: metric-wrong
# about: A MetricCollection in a Trainer class is called as a function in validation and computed, but not reset.
# needs: torchmetrics
import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torchmetrics import MeanAbsoluteError, MetricCollection, R2Score

torch.manual_seed(SEED)
X, t = load_diabetes(return_X_y=True)
X = torch.tensor(X / X.std(0), dtype=torch.float32)
t = torch.tensor((t - t.mean()) / t.std(), dtype=torch.float32)
p = torch.randperm(442)


class Trainer:
    def __init__(self):
        self.net = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 1), nn.Flatten(0))
        self.opt = torch.optim.Adam(self.net.parameters(), lr=2e-3)
        self.metrics = MetricCollection({"mae": MeanAbsoluteError(), "r2": R2Score()})

    def train(self, rows):
        for i in rows[torch.randperm(len(rows))].split(16):
            loss = nn.functional.mse_loss(self.net(X[i]), t[i])
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()

    @torch.inference_mode()
    def validate(self, rows):
        # add: self.metrics.reset()
        for i in rows.split(30):
            self.metrics(self.net(X[i]), t[i])
        return {k: v.item() for k, v in self.metrics.compute().items()}


trainer = Trainer()
for e in range(10):
    trainer.net.train()
    trainer.train(p[:300])
    trainer.net.eval()
    scores = trainer.validate(p[300:])
    print(e, scores)
with torch.no_grad():
    real = (trainer.net(X[p[300:]]) - t[p[300:]]).abs().mean().item()
print("metric error_of_mae", abs(scores["mae"] - real), "lower")
