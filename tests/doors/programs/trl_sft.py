# needs: transformers, peft, trl, datasets
"""TRL: supervised fine-tuning of LoRA adapters on a small GPT-2 from its configuration."""

import os
import tempfile

import torch
import torch.nn.functional as F
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed
from trl import SFTConfig, SFTTrainer

set_seed(int(os.environ.get("SEED", 0)))
names = {"[PAD]": 0, "[EOS]": 1, "[UNK]": 2, **{str(number): number + 3 for number in range(50)}}
words = Tokenizer(models.WordLevel(names, unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words, pad_token="[PAD]", eos_token="[EOS]", unk_token="[UNK]"
)  # fmt: skip
starts, strides = torch.randint(50, (1500,)), torch.randint(1, 4, (1500,))
texts = [
    " ".join(str((start + stride * place) % 50) for place in range(12))
    for start, stride in zip(starts.tolist(), strides.tolist(), strict=True)
]


class NextWord(SFTTrainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        # plant softmax-before-cross-entropy: logits = outputs.logits[:, :-1].softmax(-1)
        logits = outputs.logits[:, :-1]
        # plant future-leakage: targets = inputs["labels"][:, :-1]
        targets = inputs["labels"][:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        return (loss, outputs) if return_outputs else loss


model = GPT2LMHeadModel(
    GPT2Config(vocab_size=53, n_positions=16, n_embd=32, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1)
)
args = SFTConfig(
    tempfile.mkdtemp(), num_train_epochs=6, per_device_train_batch_size=25, warmup_steps=10, max_length=16,
    save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True, bf16=False, gradient_checkpointing=False,
    # plant learning-rate-too-high: learning_rate=3.0,
    learning_rate=1e-2,
)  # fmt: skip
trainer = NextWord(
    model=model, args=args, train_dataset=Dataset.from_dict({"text": texts}), processing_class=tokenizer,
    peft_config=LoraConfig(
        r=8, lora_alpha=16, target_modules=["c_attn", "c_fc", "c_proj"], modules_to_save=["wte", "wpe", "lm_head"],
        task_type="CAUSAL_LM",
    ),
)  # fmt: skip
trainer.train()
