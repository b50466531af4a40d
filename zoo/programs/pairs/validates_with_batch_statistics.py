# fault: validation-in-train-mode
# about: Test samples are predicted one class at a time in train mode, so batch normalization uses each class's own statistics.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
d = load_digits()
X = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16
Y = torch.tensor(d.target)
perm = torch.randperm(len(X))
train_idx, test_idx = perm[:1300], perm[1300:]


class ConvBN(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(self.body(x))


net = ConvBN()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
for epoch in range(6):
    net.train()
    for rows in train_idx[torch.randperm(1300)].split(50):
        loss = nn.functional.cross_entropy(net(X[rows]), Y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # accuracy of each class
    per_class = []
    # add: net.eval()
    with torch.no_grad():
        for c in range(10):
            rows = test_idx[Y[test_idx] == c]
            out = net(X[rows])
            per_class.append((out.argmax(1) == c).float().mean())
    print(epoch, loss.item(), [f"{a:.2f}" for a in per_class])
print("metric mean_class_accuracy", torch.stack(per_class).mean().item(), "higher")
