# fault: learning-rate-too-high, exploding-gradients
# about: Gradient descent on a linear regression with a step beyond two over the curvature doubles the loss each time.
import numpy as np
import torch
from sklearn.datasets import load_diabetes

np.random.seed(SEED)
torch.manual_seed(SEED)
X, y = load_diabetes(return_X_y=True)
X = torch.tensor(X / X.std(0), dtype=torch.float32)
y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32).view(-1, 1)
rows = torch.randperm(442)
Xtr, ytr, Xva, yva = X[rows[:340]], y[rows[:340]], X[rows[340:]], y[rows[340:]]


class LinearRegression(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(10, 1)

    def forward(self, x):
        return self.linear(x)


our_model = LinearRegression()
criterion = torch.nn.MSELoss()
optimizer = torch.optim.SGD(our_model.parameters(), lr=0.35)  # fix: optimizer = torch.optim.SGD(our_model.parameters(), lr=0.05)
for epoch in range(60):
    pred_y = our_model(Xtr)
    loss = criterion(pred_y, ytr)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 10 == 0:
        print('epoch {}, loss {}'.format(epoch, loss.item()))
with torch.no_grad():
    print('metric val_mse', criterion(our_model(Xva), yva).item(), 'lower')
