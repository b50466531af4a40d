# fault: missing-zero-grad
# about: Two models are trained side by side and zero_grad is called on the first optimizer twice.
import torch
import torch.nn as nn

torch.manual_seed(SEED)


def batch(n=32, length=10):
    bits = torch.randint(0, 2, (n, length)).float()
    return bits.unsqueeze(-1), bits.sum(1, keepdim=True) / length


class Counter(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.rnn = cell(1, 16, batch_first=True)
        self.out = nn.Linear(16, 1)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


plain, gated = Counter(nn.GRU), Counter(nn.LSTM)
opt_plain = torch.optim.SGD(plain.parameters(), lr=0.3)
opt_gated = torch.optim.SGD(gated.parameters(), lr=0.3)
mse = nn.MSELoss()
for it in range(400):
    x, y = batch()
    opt_plain.zero_grad()
    loss_plain = mse(plain(x), y)
    loss_plain.backward()
    opt_plain.step()

    opt_plain.zero_grad()  # fix: opt_gated.zero_grad()
    loss_gated = mse(gated(x), y)
    loss_gated.backward()
    opt_gated.step()
    if it % 50 == 0:
        print(it, 'gru', round(loss_plain.item(), 5), 'lstm', round(loss_gated.item(), 5))
with torch.no_grad():
    x, y = batch(500)
    print('metric lstm_mse', mse(gated(x), y).item(), 'lower')
