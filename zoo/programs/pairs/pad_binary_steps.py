# fault: padding-in-loss
# about: A yes/no label at each step of events of many lengths; BCE over the zero-padded labels.
import torch
from torch import nn

torch.manual_seed(SEED)
N, T = 400, 50
lengths = torch.randint(4, T, (N,))
lengths[torch.rand(N) < 0.6] //= 3
lengths.clamp_(min=4)
x = torch.randn(N, T, 3)
y = (x[..., 0] + torch.roll(x[..., 1], 1, dims=1) + 0.8 > 0).float()
mask = (torch.arange(T)[None] < lengths[:, None]).float()
x, y = x * mask[..., None], y * mask


class StepTagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(3, 24, 5, padding=2)
        self.conv2 = nn.Conv1d(24, 1, 5, padding=2)

    def forward(self, x):
        return self.conv2(torch.relu(self.conv1(x.transpose(1, 2)))).squeeze(1)


model = StepTagger()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
bce = nn.BCEWithLogitsLoss(reduction="none")
for epoch in range(12):
    for idx in torch.randperm(N).split(20):
        losses = bce(model(x[idx]), y[idx])
        loss = losses.mean()  # fix: loss = (losses * mask[idx]).sum() / mask[idx].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.no_grad():
    nll = ((bce(model(x), y) * mask).sum() / mask.sum()).item()
print(f"metric nll {nll:.4f} lower")
