# fault: unnormalized-input
# about: An LSTM reads a series of passenger-like counts in the thousands; its gates are shut at once.
import torch
from torch import nn

torch.manual_seed(SEED)
t = torch.arange(600, dtype=torch.float32)
counts = 4000 + 900 * torch.sin(t / 8) + 400 * torch.sin(t / 3 + 2) + 60 * torch.randn(600)
mean, std = counts[:480].mean(), counts[:480].std()
scaled = (counts - mean) / std
SEQ = 16
source = counts  # fix: source = scaled


def windows(a, b):
    xs = torch.stack([source[i:i + SEQ] for i in range(a, b)]).unsqueeze(-1)
    ys = torch.stack([scaled[i + SEQ] for i in range(a, b)])
    return xs, ys


class LSTM(nn.Module):
    def __init__(self, hidden_layer_size=32):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden_layer_size, batch_first=True)
        self.linear = nn.Linear(hidden_layer_size, 1)

    def forward(self, input_seq):
        lstm_out, _ = self.lstm(input_seq)
        return self.linear(lstm_out[:, -1]).squeeze(-1)


x, y = windows(0, 464)
xv, yv = windows(480, 584)
model = LSTM()
loss_function = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for i in range(12):
    for rows in torch.randperm(len(x)).split(29):
        optimizer.zero_grad()
        single_loss = loss_function(model(x[rows]), y[rows])
        single_loss.backward()
        optimizer.step()
    print(f'epoch: {i:3} loss: {single_loss.item():10.8f}')
with torch.no_grad():
    print('metric val_mse', loss_function(model(xv), yv).item(), 'lower')
