# fault: sigmoid-before-bce-with-logits
# about: A tumour classifier keeps the sigmoid of its earlier version after the loss was changed to BCEWithLogitsLoss.
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(SEED)


class CancerData(Dataset):
    def __init__(self, X, y):
        self.X = torch.from_numpy(X).float()
        self.y = torch.from_numpy(y).float()

    def __len__(self):
        return len(self.X)

    def __getitem__(self, idx):
        return self.X[idx], self.y[idx]


class BinaryClassifier(torch.nn.Module):
    def __init__(self, num_features):
        super().__init__()
        self.layer_1 = torch.nn.Linear(num_features, 32)
        self.layer_2 = torch.nn.Linear(32, 16)
        self.layer_out = torch.nn.Linear(16, 1)
        self.relu = torch.nn.ReLU()
        self.sigmoid = torch.nn.Sigmoid()

    def forward(self, inputs):
        x = self.relu(self.layer_1(inputs))
        x = self.relu(self.layer_2(x))
        x = self.layer_out(x)
        return self.sigmoid(x)  # fix: return x


X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.33, random_state=SEED, stratify=y)
scaler = StandardScaler()
X_train = scaler.fit_transform(X_train)
X_test = scaler.transform(X_test)

loader = DataLoader(CancerData(X_train, y_train), batch_size=32, shuffle=True)
model = BinaryClassifier(X.shape[1])
criterion = torch.nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

model.train()
for e in range(1, 16):
    epoch_loss = 0
    for X_batch, y_batch in loader:
        optimizer.zero_grad()
        y_pred = model(X_batch)
        loss = criterion(y_pred, y_batch.unsqueeze(1))
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item()
    print(f'Epoch {e:03}: | Loss: {epoch_loss / len(loader):.5f}')

model.eval()
with torch.no_grad():
    test_loss = criterion(model(torch.from_numpy(X_test).float()), torch.from_numpy(y_test).float().unsqueeze(1))
print(f"metric test_loss {test_loss.item():.5f} lower")
