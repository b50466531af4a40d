import torch
from accelerate import Accelerator

from stethoscope.adapters.accelerate import watch

x = torch.randn(512, 3)
data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
accelerator = Accelerator(cpu=True)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
with watch(accelerator) as run:
    for _ in range(5):
        for inputs, targets in loader:
            optimizer.zero_grad()
            accelerator.backward(torch.nn.functional.mse_loss(model(inputs), targets))
            optimizer.step()
run.report()
print("steps heard:", run.history.steps, "findings:", [one.rule for one in run.findings])
