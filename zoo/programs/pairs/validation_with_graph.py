# fault: validation-builds-graph, graph-kept-alive
# about: Validation collects its outputs without no_grad, and with each of them the graph that made it.
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
d = load_digits()
images = torch.tensor(d.images / 16, dtype=torch.float32).unsqueeze(1)
labels = torch.tensor(d.target)
order = torch.randperm(len(images))
tr, va = order[:1000], order[1000:]
kept = 0
most = 0


class Mark:
    def __init__(self, n):
        global kept, most
        self.n, kept = n, kept + n
        most = max(most, kept)

    def __del__(self):
        global kept
        kept -= self.n


model = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
                      nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(128, 10))
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
crit = nn.CrossEntropyLoss()
with torch.autograd.graph.saved_tensors_hooks(lambda t: (t, Mark(t.numel())), lambda p: p[0]):
    for epoch in range(3):
        model.train()
        for b in tr[torch.randperm(len(tr))].split(20):
            opt.zero_grad()
            crit(model(images[b]), labels[b]).backward()
            opt.step()
        model.eval()
        outputs = []
        with torch.enable_grad():  # fix: with torch.no_grad():
            for b in va.split(20):
                outputs.append(model(images[b]))
        out = torch.cat(outputs)
        print(epoch, crit(out, labels[va]).item(), (out.argmax(1) == labels[va]).float().mean().item())
        del out, outputs
print('metric floats_kept_at_most', most, 'lower')
