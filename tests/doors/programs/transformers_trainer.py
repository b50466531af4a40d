# needs: transformers, accelerate
"""Hugging Face's Trainer: a small BERT from its configuration, with a head and a loss of one's own."""

import os
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from transformers import BertConfig, BertModel, Trainer, TrainingArguments, set_seed

set_seed(int(os.environ.get("SEED", 0)))
raw = load_digits()
rows = np.random.permutation(len(raw.target))
tokens = torch.tensor(raw.images.reshape(-1, 32, 2).mean(2).astype(np.int64))
# plant labels-unrelated-to-inputs: answers = torch.tensor(raw.target[np.random.permutation(len(raw.target))])
answers = torch.tensor(raw.target)


class Pixels(torch.utils.data.Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return {"input_ids": tokens[self.rows[i]], "labels": answers[self.rows[i]]}


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = BertModel(
            BertConfig(
                vocab_size=17, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
                max_position_embeddings=32,
            )
        )  # fmt: skip
        self.head = nn.Linear(32, 10)

    def forward(self, input_ids, labels):
        logits = self.head(self.body(input_ids).last_hidden_state.mean(1))
        # plant softmax-before-cross-entropy: loss = F.cross_entropy(logits.softmax(-1), labels)
        loss = F.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


args = TrainingArguments(
    output_dir=tempfile.mkdtemp(), num_train_epochs=8, per_device_train_batch_size=32, warmup_steps=20,
    eval_strategy="epoch", save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True,
    # plant learning-rate-too-high: learning_rate=1.0,
    learning_rate=5e-3,
)  # fmt: skip
trainer = Trainer(
    model=Reader(), args=args, train_dataset=Pixels(rows[:1400]), eval_dataset=Pixels(rows[1400:]),
    compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
)  # fmt: skip
trainer.train()
print(trainer.evaluate())
