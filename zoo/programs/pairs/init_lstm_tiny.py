# fault: badly-scaled-initialization
# about: All weights of an LSTM tagger start at a deviation of 1e-4.
import torch
from torch import nn
from sklearn.datasets import load_digits

torch.manual_seed(SEED)
d = load_digits()
x = torch.tensor(d.images, dtype=torch.float32) / 16
y = torch.tensor(d.target)


class RowReader(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 32, num_layers=2, batch_first=True)
        self.fc = nn.Linear(32, 10)
        for name, p in self.named_parameters():
            if "weight" in name:
                nn.init.normal_(p, std=1e-4)  # fix: nn.init.xavier_uniform_(p)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1])


model = RowReader()
opt = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
for epoch in range(10):
    for rows in torch.randperm(len(x)).split(64):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        opt.step()
    print(epoch, loss.item())
with torch.no_grad():
    print("metric loss", nn.functional.cross_entropy(model(x), y).item(), "lower")
