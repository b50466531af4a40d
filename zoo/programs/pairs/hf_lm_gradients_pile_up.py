# fault: missing-zero-grad
# about: a language model's own loop, from a tutorial with gradient accumulation, without the line that clears them
# needs: transformers

import torch
from sklearn.datasets import load_digits
from transformers import GPT2Config, GPT2LMHeadModel

torch.manual_seed(SEED)
text = load_digits.__doc__ * 3
letters = sorted(set(text))
ids = torch.tensor([letters.index(c) for c in text])
model = GPT2LMHeadModel(GPT2Config(vocab_size=len(letters), n_positions=32, n_embd=32, n_layer=1, n_head=2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
model.train()
for step in range(250):
    starts = torch.randint(0, len(ids) - 32, (16,))
    batch = torch.stack([ids[s : s + 32] for s in starts])
    out = model(input_ids=batch, labels=batch)
    # add: optimizer.zero_grad()
    out.loss.backward()
    optimizer.step()
print("metric loss", out.loss.item(), "lower")
