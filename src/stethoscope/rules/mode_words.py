"""What a mode does to a model, in words that fit the layers which it is seen to hold."""

from __future__ import annotations

from stethoscope.facts.code import Call, Code
from stethoscope.facts.events import Event
from stethoscope.facts.mode_layers import BATCH_NORM, DROPOUT, OWN, mode_layers
from stethoscope.facts.things import Thing, iterated


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


def round_of(file: Code, loop: int, inside: list[Event]) -> str:
    """What a round of a loop is called: a batch, where it goes over data and no other loop of it does, or a round."""
    here = file.contexts[loop]
    source, _ = iterated(file, here.value) if here.kind == "for" else (None, ())
    is_counted = source is None or (isinstance(source, Call) and source.name in _COUNTING)
    passes = [one for one in inside if one.kind == "backward"]
    in_loops = any(file.contexts[one].kind in _LOOPS for event in passes for one in _between(file, event, loop))
    return "round" if is_counted or in_loops or any(one.via for one in passes) else "batch"


def _between(file: Code, event: Event, loop: int) -> list[int]:
    """The contexts around an event within a loop."""
    around = list(file.numbers_around(event.outer_context))
    return around[: around.index(loop)] if loop in around else around


def times_of(file: Code, loop: int, each: str, switched: list[Event]) -> str:
    """How often batches begin anew in train mode: where `train()` stands in a loop around theirs."""
    outer = [one for one in file.numbers_around(file.contexts[loop].parent) if file.contexts[one].kind in _LOOPS]
    again = any(one in file.numbers_around(event.outer_context) for event in switched for one in outer)
    return " of each epoch" if again and each == "batch" else ""


_LOOPS = ("for", "while")
_COUNTING = ("builtins.range", "tqdm.trange", "tqdm.auto.trange", "itertools.count")
"""What a loop goes over that counts its rounds."""
