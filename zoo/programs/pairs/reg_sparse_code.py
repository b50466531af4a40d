# fault: regularization-dominates-loss
# about: A sparse autoencoder whose activity penalty sums the code over batch and units.
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(SEED)
x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=100, shuffle=True)
encoder = nn.Sequential(nn.Linear(64, 80), nn.ReLU())
decoder = nn.Linear(80, 64)
params = list(encoder.parameters()) + list(decoder.parameters())
opt = torch.optim.Adam(params, lr=2e-3)
criterion = nn.MSELoss()
sparsity = 0.05  # fix: sparsity = 1e-6
for epoch in range(15):
    for (batch,) in loader:
        code = encoder(batch)
        loss = criterion(decoder(code), batch)
        loss = loss + sparsity * code.abs().sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
error = criterion(decoder(encoder(x)), x).item()
print(f"metric error {error:.4f} lower")
