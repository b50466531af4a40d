# fault: saturating-activation-stack, vanishing-gradients
# about: Eight sigmoid layers in a row, as in an old lecture: the early ones receive nothing.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(SEED)
activation = nn.Sigmoid  # fix: activation = nn.ReLU
layers = [nn.Linear(64, 50), activation()]
for _ in range(7):
    layers += [nn.Linear(50, 50), activation()]
layers.append(nn.Linear(50, 10))
model = nn.Sequential(*layers)

X, y = load_digits(return_X_y=True)
full = TensorDataset(torch.tensor(X / 16).float(), torch.tensor(y))
train_data, test_data = random_split(full, [1400, 397])
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(12):
    model.train()
    for images, labels in DataLoader(train_data, batch_size=50, shuffle=True):
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: {loss.item():.4f}")
model.eval()
with torch.no_grad():
    images, labels = test_data[:]
    print("metric accuracy", (model(images).argmax(1) == labels).float().mean().item(), "higher")
