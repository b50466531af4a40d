# fault: badly-scaled-initialization, exploding-gradients
# about: Weights of a deep ReLU network are drawn with torch.randn as they are; the first loss is in the thousands.
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
data, target = load_digits(return_X_y=True)
data = torch.tensor(data / 16, dtype=torch.float32)
target = torch.tensor(target)
p = torch.randperm(len(data))
data, target = data[p], target[p]

sizes = [64, 100, 100, 100, 100, 10]
weights, biases = [], []
for n_in, n_out in zip(sizes[:-1], sizes[1:]):
    w = torch.randn(n_in, n_out)  # fix: w = torch.randn(n_in, n_out) * (2 / n_in) ** 0.5
    weights.append(w.requires_grad_())
    biases.append(torch.zeros(n_out, requires_grad=True))


def net(x):
    for w, b in zip(weights[:-1], biases[:-1]):
        x = F.relu(x @ w + b)
    return x @ weights[-1] + biases[-1]


optimizer = torch.optim.SGD(weights + biases, lr=0.02)
for epoch in range(8):
    for i in range(0, 1400, 35):
        loss = F.cross_entropy(net(data[i:i + 35]), target[i:i + 35])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
with torch.no_grad():
    print('metric accuracy', (net(data[1400:]).argmax(1) == target[1400:]).float().mean().item(), 'higher')
