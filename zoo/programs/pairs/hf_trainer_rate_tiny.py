# fault: learning-rate-too-low
# about: a rate meant for fine-tuning a large pretrained model, given to a small one that starts from nothing
# needs: transformers, accelerate
import tempfile

import numpy as np
import torch
from sklearn.datasets import load_digits
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

set_seed(SEED)
raw = load_digits()
tokens = torch.tensor(raw.data.astype(np.int64))
order = np.random.permutation(len(raw.target))


def rows(which):
    return [{"input_ids": tokens[i], "labels": int(raw.target[i])} for i in which]


model = BertForSequenceClassification(
    BertConfig(
        vocab_size=17, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, num_labels=10,
    )
)  # fmt: skip
args = TrainingArguments(
    output_dir=tempfile.mkdtemp(),
    num_train_epochs=6,
    per_device_train_batch_size=32,
    learning_rate=1e-6,  # fix:     learning_rate=3e-3,
    save_strategy="no",
    report_to=[],
    disable_tqdm=True,
    use_cpu=True,
)
trainer = Trainer(model=model, args=args, train_dataset=rows(order[:1400]))
trainer.train()
model.eval()
with torch.no_grad():
    right = model(input_ids=tokens[order[1400:]]).logits.argmax(1).numpy() == raw.target[order[1400:]]
print("metric accuracy", right.mean(), "higher")
