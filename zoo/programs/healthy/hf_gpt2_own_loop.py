# needs: transformers
"""A tiny GPT-2 from its configuration, trained on text in a loop of one's own; the model computes its loss."""

import os

import torch
from sklearn.datasets import load_digits
from transformers import GPT2Config, GPT2LMHeadModel, get_linear_schedule_with_warmup

torch.manual_seed(int(os.environ.get("SEED", 0)))
text = load_digits.__doc__ * 3
letters = sorted(set(text))
ids = torch.tensor([letters.index(c) for c in text])
model = GPT2LMHeadModel(GPT2Config(vocab_size=len(letters), n_positions=48, n_embd=48, n_layer=2, n_head=4))
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
schedule = get_linear_schedule_with_warmup(optimizer, 20, 300)
model.train()
for step in range(300):
    starts = torch.randint(0, len(ids) - 48, (16,))
    batch = torch.stack([ids[s : s + 48] for s in starts])
    loss = model(input_ids=batch, labels=batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    if step % 50 == 0:
        print(step, round(loss.item(), 3))
