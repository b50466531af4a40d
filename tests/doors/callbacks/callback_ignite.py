import torch
from ignite.engine import create_supervised_trainer

from stethoscope.adapters.ignite import attach

x = torch.randn(512, 3)
data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
trainer = create_supervised_trainer(model, optimizer, torch.nn.functional.mse_loss)
callback = attach(trainer, model, optimizer)
trainer.run(torch.utils.data.DataLoader(data, batch_size=16, shuffle=True), max_epochs=5)
print("steps heard:", callback.heard.history.steps, "findings:", [one.rule for one in callback.findings])
