# fault: parameters-not-in-optimizer
# about: The optimizer is made, then the model is built once more with another width; the optimizer keeps the old one.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(SEED)
Xtr, Xte, ytr, yte = train_test_split(*load_digits(return_X_y=True), test_size=0.2, random_state=SEED)
Xtr, Xte = torch.tensor(Xtr / 16, dtype=torch.float32), torch.tensor(Xte / 16, dtype=torch.float32)
ytr, yte = torch.tensor(ytr), torch.tensor(yte)


def make_model(width):
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


model = make_model(32)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
model = make_model(128)  # wider works better
# add: optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loss_fn = nn.CrossEntropyLoss()
n_epochs, batch_size = 8, 32

for epoch in range(n_epochs):
    model.train()
    for start in range(0, len(Xtr), batch_size):
        y_pred = model(Xtr[start:start + batch_size])
        loss = loss_fn(y_pred, ytr[start:start + batch_size])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    acc = (torch.argmax(model(Xte), 1) == yte).float().mean()
    print(f"Epoch {epoch}: loss {loss.item():.3f}, accuracy {float(acc) * 100:.2f}%")
print(f"metric accuracy {float(acc)} higher")
