# needs: transformers, accelerate
"""A small BERT from its configuration, fine-tuned by the Trainer on rows of pixels as tokens, with warm-up."""

import os
import tempfile

import numpy as np
import torch
from sklearn.datasets import load_digits
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

set_seed(int(os.environ.get("SEED", 0)))
raw = load_digits()
tokens = torch.tensor(raw.data.astype(np.int64))


class Pixels(torch.utils.data.Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        row = self.rows[i]
        return {
            "input_ids": tokens[row],
            "attention_mask": torch.ones(64, dtype=torch.long),
            "labels": int(raw.target[row]),
        }


order = np.random.permutation(len(raw.target))
config = BertConfig(
    vocab_size=17, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
    max_position_embeddings=64, num_labels=10,
)  # fmt: skip
model = BertForSequenceClassification(config)
args = TrainingArguments(
    output_dir=tempfile.mkdtemp(), num_train_epochs=6, per_device_train_batch_size=32, learning_rate=1e-3,
    warmup_steps=20, weight_decay=0.01, eval_strategy="epoch", save_strategy="no", report_to=[], disable_tqdm=True,
    use_cpu=True,
)  # fmt: skip
trainer = Trainer(
    model=model, args=args, train_dataset=Pixels(order[:1400]), eval_dataset=Pixels(order[1400:]),
    compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
)  # fmt: skip
trainer.train()
print(trainer.evaluate())
