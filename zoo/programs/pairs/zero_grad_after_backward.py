# fault: gradients-cleared-before-step
# about: zero_grad stands between backward and step.
import torch
import torch.nn as nn
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

torch.manual_seed(SEED)
iris = load_iris()
X = (iris.data - iris.data.mean(0)) / iris.data.std(0)
X_train, X_test, y_train, y_test = train_test_split(X, iris.target, test_size=0.3, stratify=iris.target, random_state=SEED)
X_train = torch.FloatTensor(X_train)
X_test = torch.FloatTensor(X_test)
y_train = torch.LongTensor(y_train)
y_test = torch.LongTensor(y_test)


class Model(nn.Module):
    def __init__(self, in_features=4, h1=16, h2=12, out_features=3):
        super().__init__()
        self.fc1 = nn.Linear(in_features, h1)
        self.fc2 = nn.Linear(h1, h2)
        self.out = nn.Linear(h2, out_features)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        return self.out(x)


model = Model()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
losses = []
for i in range(100):
    # add: optimizer.zero_grad()
    y_pred = model(X_train)
    loss = criterion(y_pred, y_train)
    losses.append(loss.item())
    if i % 10 == 0:
        print(f'Epoch: {i} Loss: {loss:.4f}')
    loss.backward()
    optimizer.zero_grad()  # fix:
    optimizer.step()

with torch.no_grad():
    print("metric test_loss", criterion(model(X_test), y_test).item(), "lower")
