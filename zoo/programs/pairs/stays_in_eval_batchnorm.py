# fault: training-in-eval-mode
# about: eval is called for the first validation and train never again; raw inputs then meet unsettled batch statistics.
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

torch.manual_seed(SEED)
X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=SEED)
X_train, X_test = torch.tensor(X_train).float(), torch.tensor(X_test).float()
y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)

model = nn.Sequential(
    nn.BatchNorm1d(13), nn.Linear(13, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
criterion = nn.CrossEntropyLoss()


def evaluate(model):
    model.eval()
    with torch.no_grad():
        out = model(X_test)
    return criterion(out, y_test).item(), (out.argmax(1) == y_test).float().mean().item()


print('untrained:', evaluate(model))
for epoch in range(15):
    # add: model.train()
    for rows in torch.randperm(len(X_train)).split(31):
        optimizer.zero_grad()
        loss = criterion(model(X_train[rows]), y_train[rows])
        loss.backward()
        optimizer.step()
    val_loss, val_acc = evaluate(model)
    print(f'epoch {epoch} train {loss.item():.3f} val {val_loss:.3f} acc {val_acc:.3f}')
print('metric val_loss', val_loss, 'lower')
