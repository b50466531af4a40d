# fault: batch-norm-statistics-unsettled
# about: A full-batch regression on housing-like features of very different sizes, momentum 0.001, R2 at the end.
import torch
from torch import nn

torch.manual_seed(SEED)
n = 1200
income = torch.rand(n) * 12 + 1
age = torch.rand(n) * 50 + 1
rooms = torch.randn(n).abs() * 3 + 2
lat = torch.rand(n) * 10 + 32
x = torch.stack([income, age, rooms, lat], 1)
y = (0.4 * income + 0.3 * torch.sin(lat) * rooms - 0.01 * age + 0.1 * torch.randn(n)).unsqueeze(1)
x_train, y_train, x_test, y_test = x[:900], y[:900], x[900:], y[900:]

model = nn.Sequential(
    nn.BatchNorm1d(4, momentum=0.001),  # fix: nn.BatchNorm1d(4),
    nn.Linear(4, 64),
    nn.ReLU(),
    nn.Linear(64, 64),
    nn.BatchNorm1d(64, momentum=0.001),  # fix: nn.BatchNorm1d(64),
    nn.ReLU(),
    nn.Linear(64, 1),
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(300):
    optimizer.zero_grad()
    loss = ((model(x_train) - y_train) ** 2).mean()
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(step, loss.item())

model.eval()
with torch.no_grad():
    prediction = model(x_test)
r2 = 1 - ((prediction - y_test) ** 2).sum() / ((y_test - y_test.mean()) ** 2).sum()
print(f"metric r2 {r2.item():.4f} higher")
