# fault: missing-zero-grad
# about: The classic: backward and step in a loop, and gradients that are never cleared.
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_diabetes

torch.manual_seed(SEED)
X, y = load_diabetes(return_X_y=True)
inputs = torch.tensor(X, dtype=torch.float32) * 20
labels = torch.tensor(y, dtype=torch.float32).view(-1, 1) / 100

model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1))
criterion = nn.MSELoss()
optimizer = optim.SGD(model.parameters(), lr=0.03)

epochs = 150
for epoch in range(epochs):
    # add: optimizer.zero_grad()
    outputs = model(inputs)
    loss = criterion(outputs, labels)
    loss.backward()
    optimizer.step()
    if epoch % 30 == 0:
        print('epoch {}, loss {}'.format(epoch, loss.item()))

print('metric train_loss', loss.item(), 'lower')
