"""Hugging Face's Trainer: a GPT-2 from its configuration, clipping, accumulation, warm-up, evaluation."""

import tempfile

import torch
from callbacks_of import quietly, watched
from fingerprint import print_fingerprints
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

set_seed(1)
model = GPT2LMHeadModel(GPT2Config(vocab_size=10, n_positions=8, n_embd=16, n_layer=1, n_head=2))
rows = [{"input_ids": row, "labels": row} for row in (torch.arange(8) + torch.randint(10, (200, 1))) % 10]
arguments = TrainingArguments(
    tempfile.mkdtemp(), num_train_epochs=3, per_device_train_batch_size=8, gradient_accumulation_steps=2,
    learning_rate=1e-2, warmup_steps=5, max_grad_norm=0.5, eval_strategy="epoch", save_strategy="no", report_to=[],
    use_cpu=True, disable_tqdm=True, logging_steps=1,
)  # fmt: skip
callbacks = []
if watched:
    from stethoscope.adapters.transformers import Callback

    callbacks = [Callback(**quietly)]
trainer = Trainer(model, arguments, train_dataset=rows[:160], eval_dataset=rows[160:], callbacks=callbacks)
trainer.log = lambda logs, *rest: trainer.state.log_history.append(dict(logs))  # prints no times
trainer.train()
losses = [float(log[name]) for log in trainer.state.log_history for name in ("loss", "eval_loss") if name in log]
print_fingerprints(models=[model], losses=losses)
