"""What a mode does to a model, in words that fit the layers which it is seen to hold."""

from __future__ import annotations

from stethoscope.facts.mode_layers import BATCH_NORM, DROPOUT, OWN, mode_layers
from stethoscope.facts.things import Thing


def in_train_mode(name: str, model: Thing, *, is_known: bool) -> str:
    """Why an evaluation in train mode hurts."""
    kinds = mode_layers(model)
    if DROPOUT in kinds and BATCH_NORM not in kinds:
        return f"`{name}` holds dropout, which acts in train mode: its answers are noisy."
    if BATCH_NORM in kinds and DROPOUT not in kinds:
        return (
            f"`{name}` holds batch normalization: in train mode an answer depends on the rest of its batch, and "
            "evaluation moves the running statistics."
        )
    if kinds == {OWN}:
        return f"`{name}` asks `self.training`, and acts otherwise in train mode than in evaluation."
    holds = f"{'holds' if is_known else 'may hold'} dropout {'and' if kinds else 'or'} batch normalization"
    return f"`{name}` {holds}, which act in train mode: answers are noisy, and evaluation moves the running statistics."


def in_eval_mode(model: Thing) -> str:
    """What goes on in eval mode while a model trains."""
    kinds = mode_layers(model)
    if DROPOUT in kinds and BATCH_NORM not in kinds:
        return "after the first evaluation dropout is off, while training goes on."
    if BATCH_NORM in kinds and DROPOUT not in kinds:
        return (
            "after the first evaluation batch normalization uses its running statistics, and no longer follows the "
            "batches, while training goes on."
        )
    return (
        "after the first evaluation what acts differently in training, as dropout and batch normalization do, acts as "
        "in evaluation, while training goes on."
    )
