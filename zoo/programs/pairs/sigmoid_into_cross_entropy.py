# fault: softmax-before-cross-entropy, output-activation-limits-range
# about: Ten class scores go through a sigmoid and then into CrossEntropyLoss.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
bunch = load_digits()
x = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
y = torch.tensor(bunch.target)
perm = torch.randperm(len(x))
train_loader = DataLoader(TensorDataset(x[perm[:1400]], y[perm[:1400]]), batch_size=64, shuffle=True)


class ConvNeuralNet(nn.Module):
    def __init__(self, num_classes):
        super(ConvNeuralNet, self).__init__()
        self.conv_layer1 = nn.Conv2d(1, 16, kernel_size=3)
        self.max_pool1 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * 9, 64)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(64, num_classes)

    def forward(self, x):
        out = torch.relu(self.conv_layer1(x))
        out = self.max_pool1(out)
        out = out.reshape(out.size(0), -1)
        out = self.fc2(self.relu1(self.fc1(out)))
        return torch.sigmoid(out)  # fix: return out


model = ConvNeuralNet(10)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=0.005, momentum=0.9)
for epoch in range(8):
    for i, (images, labels) in enumerate(train_loader):
        outputs = model(images)
        loss = criterion(outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print('Epoch [{}/{}], Loss: {:.4f}'.format(epoch + 1, 8, loss.item()))
with torch.no_grad():
    print('metric test_ce', criterion(model(x[perm[1400:]]), y[perm[1400:]]).item(), 'lower')
