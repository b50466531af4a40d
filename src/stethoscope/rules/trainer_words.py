"""Fixes in the words of a trainer, as `keras_words` has them for Keras: who never wrote the loop cannot change it.

A table for each trainer, by the rule's name: sentences with code, into which the numbers of the rule's own fix are put.
A rule that is not in it keeps its own words, and so does one whose own fix rewrites a line of the user's.
"""

from __future__ import annotations

import re
from dataclasses import replace

from stethoscope.core.finding import Finding, Fix
from stethoscope.facts.training import History
from stethoscope.rules.sites import code

Words = tuple[tuple[str, tuple[str, ...]], ...]
"""Sentences and the lines of code under them."""

_NUMBER = r"([\d.]+(?:e[+-]?\d+)?)"
_ADVISED = {
    "rate": (rf"\blr={_NUMBER}", "1e-4"),
    "norm": (rf"clip_grad_norm_\(model\.parameters\(\), {_NUMBER}\)", "1.0"),
    "decay": (rf"weight_decay={_NUMBER}", "0.01"),
    "rows": (rf"batch_size={_NUMBER}", "32"),
    "times": (rf"over {_NUMBER} batches", "8"),
    "epochs": (rf"range\({_NUMBER} \* epochs\)", "10"),
}
"""What a rule's own fix advises, and what stands there where it says nothing."""


def in_trainer_words(finding: Finding, seen: History) -> Finding:
    """The finding with fixes for the trainer that runs the loop, where its table has them."""
    words = TABLES.get(seen.trainer, {}).get(finding.rule)
    if words is None or (finding.fixes and finding.fixes[0].edit is not None):
        return finding
    own = "\n".join(fix.text for fix in finding.fixes)
    numbers = {name: _advised(own, pattern, usual) for name, (pattern, usual) in _ADVISED.items()}
    fixes = [Fix(f"{sentence}\n{code(*(_filled(line, numbers) for line in lines))}") for sentence, lines in words]
    return replace(finding, fixes=tuple(fixes))


def _advised(text: str, pattern: str, usual: str) -> str:
    found = re.search(pattern, text)
    return found[1].rstrip(".") if found else usual


def _filled(line: str, numbers: dict[str, str]) -> str:
    """The line with the numbers in it: `<rate>` and the like, since code has braces of its own."""
    return re.sub(r"<(\w+)>", lambda match: numbers.get(match[1], match[0]), line)


_HF_STOP = (
    "Keep the best weights, and stop when they stay the best:",
    (
        'TrainingArguments(..., eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True)',
        "trainer.add_callback(transformers.EarlyStoppingCallback(early_stopping_patience=3))",
    ),
)
_HF_CLIP = ("Clip the gradients:", ("TrainingArguments(..., max_grad_norm=<norm>)",))
_HF_LOWER = ("Lower the learning rate:", ("TrainingArguments(..., learning_rate=<rate>)",))
TRANSFORMERS: dict[str, Words] = {
    "batch-too-large": (("Take smaller batches:", ("TrainingArguments(..., per_device_train_batch_size=<rows>)",)),),
    "batch-too-small": (
        ("Take larger batches:", ("TrainingArguments(..., per_device_train_batch_size=<rows>)",)),
        ("Or add gradients up:", ("TrainingArguments(..., gradient_accumulation_steps=<times>)",)),
    ),
    "exploding-gradients": (_HF_CLIP, ("Or lower the learning rate:", _HF_LOWER[1])),
    "gradient-clipping-too-tight": (("Raise the limit, so that only outliers are cut:", _HF_CLIP[1]),),
    "learning-rate-decayed-away": (
        (
            "Let the rate come down over the whole run:",
            ('TrainingArguments(..., lr_scheduler_type="cosine", num_train_epochs=epochs)',),
        ),
    ),
    "learning-rate-too-high": (
        _HF_LOWER,
        (
            "Or keep the rate and reach it slowly, with a longer warm-up:",
            ('TrainingArguments(..., lr_scheduler_type="linear", warmup_steps=500)',),
        ),
    ),
    "learning-rate-too-low": (("Raise the learning rate:", _HF_LOWER[1]),),
    "loss-oscillating": (
        (
            "Take shorter steps, and let them shrink towards the end:",
            ('TrainingArguments(..., learning_rate=<rate>, lr_scheduler_type="cosine")',),
        ),
    ),
    "momentum-too-high": (("Use the usual memory of ten steps:", ("TrainingArguments(..., adam_beta1=0.9)",)),),
    "overfitting": (
        _HF_STOP,
        ("Or hold the weights back with a decay:", ("TrainingArguments(..., weight_decay=<decay>)",)),
    ),
    "too-few-epochs": (
        (
            "Train longer, and watch where the loss levels off:",
            ("TrainingArguments(..., num_train_epochs=<epochs> * epochs)",),
        ),
    ),
    "unclipped-gradients": (_HF_CLIP,),
    "unshuffled-data": (
        (
            "Shuffle the rows once; the trainer draws their order anew in each epoch unless its loader was replaced:",
            ("Trainer(..., train_dataset=dataset.shuffle(seed=0))",),
        ),
    ),
    "weight-decay-too-strong": (("Lower it to a usual value:", ("TrainingArguments(..., weight_decay=<decay>)",)),),
}
_PL_CLIP = ("Clip the gradients:", ("L.Trainer(..., gradient_clip_val=<norm>)",))
_PL_RATE = (
    "def configure_optimizers(self):",
    "    return torch.optim.AdamW(self.parameters(), lr=<rate>)",
)
LIGHTNING: dict[str, Words] = {
    "batch-too-small": (
        ("Take larger batches:", ("DataLoader(dataset, batch_size=<rows>, shuffle=True)",)),
        ("Or add gradients up:", ("L.Trainer(..., accumulate_grad_batches=<times>)",)),
    ),
    "exploding-gradients": (_PL_CLIP, ("Or lower the learning rate:", _PL_RATE)),
    "gradient-clipping-too-tight": (("Raise the limit, so that only outliers are cut:", _PL_CLIP[1]),),
    "learning-rate-decayed-away": (
        (
            "Let the rate come down over the whole run:",
            (
                "def configure_optimizers(self):",
                "    optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)",
                "    steps = self.trainer.estimated_stepping_batches",
                "    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)",
                '    return [optimizer], [{"scheduler": schedule, "interval": "step"}]',
            ),
        ),
    ),
    "overfitting": (
        (
            "Keep the best weights, and stop when they stay the best:",
            (
                'stop = L.pytorch.callbacks.EarlyStopping("val_loss", patience=3)',
                'best = L.pytorch.callbacks.ModelCheckpoint(monitor="val_loss")',
                "L.Trainer(..., callbacks=[stop, best])",
            ),
        ),
    ),
    "too-few-epochs": (
        ("Train longer, and watch where the loss levels off:", ("L.Trainer(..., max_epochs=<epochs> * epochs)",)),
    ),
    "unclipped-gradients": (_PL_CLIP,),
}
_SK_CLIP = (
    "Clip the gradients:",
    ('net.set_params(callbacks=[("clip", skorch.callbacks.GradientNormClipping(<norm>))])',),
)
_SK_RATE = ("net.set_params(lr=<rate>)",)
SKORCH: dict[str, Words] = {
    "batch-too-large": (("Take smaller batches:", ("net.set_params(batch_size=<rows>)",)),),
    "batch-too-small": (("Take larger batches:", ("net.set_params(batch_size=<rows>)",)),),
    "exploding-gradients": (_SK_CLIP, ("Or lower the learning rate:", _SK_RATE)),
    "gradient-clipping-too-tight": (("Raise the limit, so that only outliers are cut:", _SK_CLIP[1]),),
    "learning-rate-too-high": (("Lower the learning rate:", _SK_RATE),),
    "learning-rate-too-low": (("Raise the learning rate:", _SK_RATE),),
    "momentum-too-high": (("Use the usual memory of ten steps:", ("net.set_params(optimizer__momentum=0.9)",)),),
    "overfitting": (
        (
            "Stop when the validation loss rises, and load the best weights:",
            (
                "stop = skorch.callbacks.EarlyStopping(patience=5, load_best=True)",
                'net.set_params(callbacks=[("stop", stop)])',
            ),
        ),
        (
            "Or hold the weights back with a decay:",
            ("net.set_params(optimizer__weight_decay=<decay>)",),
        ),
    ),
    "too-few-epochs": (
        (
            "Train longer, and watch where the loss levels off:",
            ("net.set_params(max_epochs=<epochs> * epochs)",),
        ),
    ),
    "unclipped-gradients": (_SK_CLIP,),
    "unshuffled-data": (
        (
            "Let each epoch draw its order anew:",
            ("net.set_params(iterator_train__shuffle=True)",),
        ),
    ),
    "weight-decay-too-strong": (
        (
            "Lower it to a usual value:",
            ("net.set_params(optimizer__weight_decay=<decay>)",),
        ),
    ),
}
TABLES = {"transformers": TRANSFORMERS, "lightning": LIGHTNING, "skorch": SKORCH}
"""By the trainer's name in `History.trainer`."""
