# fault: metric-wrong
# about: Precision and recall are taken of lists gathered batch by batch, with the sides in the wrong order.
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import recall_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(SEED)
d = load_breast_cancer()
X = torch.tensor(d.data, dtype=torch.float32)
X = (X - X.mean(0)) / X.std(0)
y = 1 - torch.tensor(d.target)
p = torch.randperm(569)
train = DataLoader(TensorDataset(X[p[:350]], y[p[:350]]), batch_size=25, shuffle=True)
val = DataLoader(TensorDataset(X[p[350:]], y[p[350:]]), batch_size=73)
net = nn.Sequential(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 2))
opt = torch.optim.SGD(net.parameters(), lr=0.02)
weight = torch.tensor([1.0, 6.0])
for epoch in range(8):
    for a, b in train:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(a), b, weight=weight)
        loss.backward()
        opt.step()
    truth, said = [], []
    with torch.no_grad():
        for a, b in val:
            said.extend(net(a).argmax(dim=1).tolist())
            truth.extend(b.tolist())
    recall = recall_score(said, truth)  # fix: recall = recall_score(truth, said)
    print(epoch, loss.item(), "recall of malignant", recall)
real = sum(a and b for a, b in zip(said, truth)) / sum(truth)
print("metric error", abs(recall - real), "lower")
