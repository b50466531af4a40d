import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from stethoscope.adapters.transformers import Callback

model = GPT2LMHeadModel(GPT2Config(vocab_size=10, n_positions=8, n_embd=16, n_layer=1, n_head=2))
rows = [{"input_ids": row, "labels": row} for row in (torch.arange(8) + torch.randint(10, (320, 1))) % 10]
callback = Callback()
arguments = TrainingArguments(
    tempfile.mkdtemp(), num_train_epochs=5, per_device_train_batch_size=16, learning_rate=1e-2, report_to=[],
    save_strategy="no", use_cpu=True, disable_tqdm=True,
)  # fmt: skip
Trainer(model, arguments, train_dataset=rows, callbacks=[callback]).train()
print("steps heard:", callback.heard.history.steps, "findings:", [one.rule for one in callback.findings])
