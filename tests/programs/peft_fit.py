"""PEFT: LoRA adapters with dropout on a GPT-2 from its configuration in Hugging Face's Trainer, then merged."""

import tempfile

import torch
from fingerprint import print_fingerprints
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

set_seed(1)
base = GPT2LMHeadModel(GPT2Config(vocab_size=10, n_positions=8, n_embd=16, n_layer=1, n_head=2))
model = get_peft_model(base, LoraConfig(r=4, lora_dropout=0.1, target_modules=["c_attn"], fan_in_fan_out=True))
rows = [{"input_ids": row, "labels": row} for row in (torch.arange(8) + torch.randint(10, (120, 1))) % 10]
arguments = TrainingArguments(
    tempfile.mkdtemp(), num_train_epochs=2, per_device_train_batch_size=8, learning_rate=1e-2, save_strategy="no",
    report_to=[], use_cpu=True, disable_tqdm=True, logging_steps=1,
)  # fmt: skip
trainer = Trainer(model, arguments, train_dataset=rows)
trainer.log = lambda logs, *rest: trainer.state.log_history.append(dict(logs))  # prints no times
trainer.train()
losses = [float(log["loss"]) for log in trainer.state.log_history if "loss" in log]
print_fingerprints(models=[model], losses=losses, outputs=[model.merge_and_unload().state_dict()])
