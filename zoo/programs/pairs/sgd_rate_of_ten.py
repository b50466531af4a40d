# fault: learning-rate-too-high
# about: SGD with a rate of 10 on a small classifier; the loss jumps about and never comes down.
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
learning_rate = 10  # fix: learning_rate = 0.1
num_epochs = 6
digits = load_digits()
train_dataset = TensorDataset(torch.Tensor(digits.data[:1400] / 16), torch.LongTensor(digits.target[:1400]))
test_x, test_y = torch.Tensor(digits.data[1400:] / 16), torch.LongTensor(digits.target[1400:])
train_loader = DataLoader(dataset=train_dataset, batch_size=64, shuffle=True)


class NN(nn.Module):
    def __init__(self, input_size, num_classes):
        super(NN, self).__init__()
        self.fc1 = nn.Linear(input_size, 50)
        self.fc2 = nn.Linear(50, num_classes)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


model = NN(64, 10)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=learning_rate)
for epoch in range(num_epochs):
    losses = []
    for batch_idx, (data, targets) in enumerate(train_loader):
        scores = model(data)
        loss = criterion(scores, targets)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"Cost at epoch {epoch} is {sum(losses) / len(losses)}")
with torch.no_grad():
    print("metric accuracy", (model(test_x).max(1)[1] == test_y).float().mean().item(), "higher")
