# fault: unnormalized-input
# about: Breast cancer measurements straight from the table, Adam, a calm rate; areas of thousands drown the rest.
from torch.utils.data import Dataset, DataLoader
from sklearn.datasets import load_breast_cancer
import torch
import numpy as np

np.random.seed(SEED)
torch.manual_seed(SEED)


class TableDataset(Dataset):
    def __init__(self, rows, stats):
        X, y = load_breast_cancer(return_X_y=True)
        m, s = stats
        self.X = torch.tensor(X[rows], dtype=torch.float32)  # fix: self.X = torch.tensor((X[rows] - m) / s, dtype=torch.float32)
        self.y = torch.tensor(y[rows], dtype=torch.float32)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return {"x": self.X[i], "y": self.y[i]}


rows = np.random.permutation(569)
raw = load_breast_cancer().data[rows[:400]]
stats = raw.mean(0), raw.std(0)
train, test = TableDataset(rows[:400], stats), TableDataset(rows[400:], stats)
model = torch.nn.Sequential(torch.nn.Linear(30, 16), torch.nn.ReLU(), torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
criterion = torch.nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(25):
    for batch in DataLoader(train, batch_size=20, shuffle=True):
        optimizer.zero_grad()
        loss = criterion(model(batch["x"]).squeeze(1), batch["y"])
        loss.backward()
        optimizer.step()
    if epoch % 5 == 4:
        print("epoch", epoch + 1, "loss", loss.item())
with torch.no_grad():
    print("metric test_bce", criterion(model(test.X).squeeze(1), test.y).item(), "lower")
