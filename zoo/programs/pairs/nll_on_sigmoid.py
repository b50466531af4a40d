# fault: nll-without-log-softmax
# about: Wine cultivars: the scores go through a sigmoid and into NLLLoss, which only makes all of them large.
import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

torch.manual_seed(SEED)
raw = load_wine()
feats = torch.tensor(StandardScaler().fit_transform(raw.data), dtype=torch.float32)
target = torch.tensor(raw.target)
idx = torch.randperm(178)
train_idx, val_idx = idx[:120], idx[120:]
torch_model = torch.nn.Sequential(torch.nn.Linear(13, 20), torch.nn.ReLU(), torch.nn.Linear(20, 3))
opt = torch.optim.SGD(torch_model.parameters(), lr=0.05)
nll = torch.nn.NLLLoss()


def step(rows):
    out = torch.sigmoid(torch_model(feats[rows]))  # fix: out = torch.log_softmax(torch_model(feats[rows]), dim=1)
    loss = nll(out, target[rows])
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.item()


for epoch in range(25):
    losses = [step(rows) for rows in train_idx[torch.randperm(120)].split(12)]
    if epoch % 5 == 0:
        print(epoch, sum(losses) / len(losses))
with torch.no_grad():
    ce = torch.nn.functional.cross_entropy(torch_model(feats[val_idx]), target[val_idx])
print('metric val_ce', ce.item(), 'lower')
