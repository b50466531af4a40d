# needs: transformers, peft
"""PEFT: LoRA adapters on a small BERT from its configuration, trained by Hugging Face's Trainer."""

import os
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from sklearn.datasets import load_digits
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

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


class OwnLoss(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(input_ids=inputs["input_ids"])
        # plant softmax-before-cross-entropy: loss = F.cross_entropy(outputs.logits.softmax(-1), inputs["labels"])
        loss = F.cross_entropy(outputs.logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss


base = BertForSequenceClassification(
    BertConfig(
        vocab_size=17, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32, num_labels=10,
    )
)  # fmt: skip
adapter = LoraConfig(
    r=8, lora_alpha=16, target_modules=["query", "value", "dense"],
    modules_to_save=["word_embeddings", "position_embeddings", "classifier"],
)  # fmt: skip
args = TrainingArguments(
    output_dir=tempfile.mkdtemp(), num_train_epochs=10, per_device_train_batch_size=32, warmup_steps=20,
    eval_strategy="epoch", save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True,
    # plant learning-rate-too-high: learning_rate=1.0,
    learning_rate=1e-2,
)  # fmt: skip
trainer = OwnLoss(
    model=get_peft_model(base, adapter), args=args, train_dataset=Pixels(rows[:1400]),
    eval_dataset=Pixels(rows[1400:]),
    compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
)  # fmt: skip
trainer.train()
print(trainer.evaluate())
