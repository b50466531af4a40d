"""Loops that try a step, or measure it, and train nothing: nobody looks at their loss.

for _ in range(3):                                      a few rounds
    out = model(torch.randn(8, 3))                      of a model that is made here and not used behind them,
    loss_fn(out, torch.randn(8, 2)).backward()          on numbers that are drawn here
"""

from __future__ import annotations

import re

from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Call,
    Code,
    Constant,
    Group,
    Item,
    Name,
    Operation,
    Symbol,
    Value,
)
from stethoscope.facts.loops import Loop
from stethoscope.facts.origins import given_to, thing_of
from stethoscope.facts.things import followed, iterated, literal
from stethoscope.facts.uses import readings_of

MOST_ROUNDS = 10
"""Rounds of a trial, at most: who trains on numbers that are drawn, as lessons do, takes hundreds."""
DEEPEST = 12
"""Values inside of each other that are followed from a loss."""
_DRAWN = re.compile(r"torch\.(?:rand\w*|zeros|ones|full|normal|arange|linspace|empty|zeros_like|ones_like)")
_FORMING = frozenset({".to", ".cuda", ".cpu", ".float", ".long", ".half", ".double", ".type", ".view", ".reshape",
                      ".unsqueeze", ".squeeze", ".requires_grad_", ".sum", ".mean", ".detach", ".clone"})  # fmt: skip
_ONLY_ASKED = re.compile(r"\.(?:backward|shape|size|dim|grad_fn|requires_grad|dtype)\b")
_ASKS = re.compile(r"(?:isfinite|isnan|isinf|\.scale|\.backward|del)[( ]\s*$")
_MEASURED = re.compile(
    r"\bmemory_(?:allocated|reserved|stats|summary)\(|max_memory_\w+\(|perf_counter|\btime\.(?:time|monotonic)\("
    r"|\.elapsed_time\(|\bdetect_anomaly|\bprofile(?:r\.profile)?\("
)
"""What measures the time or the memory of a step, or looks for the batch that breaks it."""
_FILLS_MEMORY = re.compile(r"out of memory|OutOfMemoryError")
"""What looks for the largest batch that fits."""
JUDGED = re.compile(r"\.item\(|\.eval\(|no_grad|add_scalar|\.update\(|\.log\(")
"""What a loop does that trains and takes its time beside that."""
_WRAPS = re.compile(r"Parallel|compile|DDP|FSDP|\.prepare\b")


def is_trial(file: Code, context: int, losses: list[Value | None]) -> bool:
    """Whether a loop takes a few steps on numbers that are drawn in its function, inputs and targets, of models that
    are made there and not used behind it, and nobody looks at the losses.
    """
    here = file.contexts[context]
    rounds = literal(file, here.value.argument(0)) if isinstance(here.value, Call) else None
    is_counted = isinstance(here.value, Call) and here.value.name in ("builtins.range", "tqdm.trange")
    if here.kind != "for" or not is_counted or not isinstance(rounds, int) or rounds > MOST_ROUNDS:
        return False
    models: list[Value] = []
    is_drawn = bool(losses) and all(_is_drawn(file, one, models, 0) for one in losses)
    is_over = all(_goes_out_of_use(file, one, context) for one in models)
    return is_drawn and bool(models) and is_over and not any(is_read(file, one) for one in losses)


def is_no_training(file: Code, loop: Loop) -> bool:
    """Whether a loop with a backward pass only tries or measures its steps."""
    passes = loop.of("backward")
    is_here = loop.is_loop and all(one.code is file and not one.via for one in passes)
    return is_here and (is_trial(file, loop.context, [one.subject for one in passes]) or only_measures(file, loop))


def only_measures(file: Code, loop: Loop) -> bool:
    """Whether a loop takes the time or the memory of its rounds, or its function does and the targets are drawn by
    chance, as where it warms up, or a loop looks with such ones for what fits into memory; and never reads the loss.
    """
    places = [loop.at, *(one.at for one in file.around(loop.context) if one.kind == "with")]
    lines = [file.lines[at.line - 1 : (at.end_line if at is loop.at else at.line)] for at in places]
    said = any(_MEASURED.search(line.partition("#")[0]) for part in lines for line in part)
    losses = [one.subject for one in loop.of("backward") if one.code is file and not one.via]
    if file.matches(JUDGED, loop.at) or not losses or any(is_read(file, one) for one in losses):
        return False
    home = file.functions[loop.function]
    is_measured = file.matches(_MEASURED, home.at) or file.matches(_FILLS_MEMORY, loop.at)
    return said or (bool(home.context) and is_measured and _learns_chance(file, losses))


def _learns_chance(file: Code, losses: list[Value | None]) -> bool:
    """Whether the targets of all these losses are drawn by chance."""
    made = [followed(file, one)[0] for one in losses]
    return all(isinstance(one, Call) and is_random(file, one.argument(1, "target")) for one in made)


def is_read(file: Code, loss: Value | None) -> bool:
    """Whether a loss that has a name is read for more than its backward pass, its shape, or whether it is a number."""
    while isinstance(loss, Call) and loss.name in (".scale", ".mean", ".sum"):
        loss = loss.argument(0) if loss.name == ".scale" else loss.receiver
    numbers = [number for number, one in enumerate(file.bindings) if one.value is loss and isinstance(loss, Call)]
    if isinstance(loss, Name) and loss.binding != NOWHERE:
        numbers = [loss.binding]
    elif not isinstance(loss, Call):
        return isinstance(loss, Attribute | Item)
    for one in (name for number in numbers for name in readings_of(file, number)):
        behind = file.lines[one.at.end_line - 1].encode()[one.at.end_column :].decode(errors="replace")
        before = file.lines[one.at.line - 1].encode()[: one.at.column].decode(errors="replace")
        if not _ONLY_ASKED.match(behind) and not _ASKS.search(before):
            return True
    return False


def _is_drawn(file: Code, value: Value | None, models: list[Value], depth: int) -> bool | None:
    """Whether all that a value is computed from is drawn in its function; None of a number that is written there."""
    if depth > DEEPEST or value is None:
        return False
    if isinstance(value, Constant | Symbol):
        return None
    if isinstance(value, Name):
        found, _ = followed(file, value)
        if found is value:
            return _is_drawn(file, _put_in_loader(file, value), models, depth + 1)
        return _is_drawn(file, found, models, depth + 1)
    if isinstance(value, Attribute | Item):
        return _is_drawn(file, value.value, models, depth + 1)
    parts: tuple[Value, ...] = ()
    if isinstance(value, Call):
        if value.receiver is None and _DRAWN.fullmatch(value.name):
            return True
        parts = (*value.arguments, *(one for _, one in value.keywords))
        if value.name in _FORMING and value.receiver is not None:
            parts = (value.receiver,)
        elif thing_of(file, value.receiver).kind == "module" and value.receiver is not None:
            models.append(value.receiver)
        elif value.receiver is not None and thing_of(file, value.receiver).kind != "loss":
            parts = (value.receiver, *parts)
    elif isinstance(value, Operation):
        parts = value.operands
    elif isinstance(value, Group):
        parts = value.items
    found_parts = [_is_drawn(file, one, models, depth + 1) for one in parts]
    return True in found_parts and False not in found_parts


def is_random(file: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether numbers are drawn by chance here, or wherever they are handed over: as targets they teach nothing."""
    if depth > DEEPEST or value is None:
        return False
    found, _ = followed(file, value)
    if isinstance(found, Attribute | Item):
        return is_random(file, found.value, depth + 1)
    if isinstance(found, Call):
        if found.name in _FORMING and found.receiver is not None:
            return is_random(file, found.receiver, depth + 1)
        return found.name == ".random_" or bool(_BY_CHANCE.fullmatch(found.name))
    if not isinstance(found, Name) or found.binding == NOWHERE or file.bindings[found.binding].how != "argument":
        return False
    function = file.function_at(file.bindings[found.binding].context)
    names = [one.binding for one in file.functions[function].parameters]
    given = list(given_to(file, function, names.index(found.binding))) if found.binding in names else []
    return bool(given) and all(is_random(home, one, depth + 1) for home, one in given)


_BY_CHANCE = re.compile(r"torch\.(?:rand|randn|randint|randperm|normal|bernoulli|multinomial|rand_like|randn_like)")


def _put_in_loader(file: Code, value: Name) -> Value | None:
    """The data set of a loader, where a variable stands for its batches and tensors make it up."""
    binding = file.bindings[value.binding] if value.binding != NOWHERE else None
    if binding is None or binding.how != "for":
        return None
    source, _ = iterated(file, binding.value)
    loader = thing_of(file, source)
    made = loader.made if loader.kind == "loader" and loader.made_in is file else None
    data, _ = followed(file, made.argument(0, "dataset") if made is not None else None)
    is_plain = isinstance(data, Call) and data.name == "torch.utils.data.TensorDataset"
    return data if is_plain else None


def _goes_out_of_use(file: Code, model: Value, context: int) -> bool:
    """Whether a model is made in the function of a loop, and not named behind it."""
    index = file.function_at(context)
    if not isinstance(model, Name) or model.binding == NOWHERE or "." in model.name:
        return isinstance(model, Call)  # `nn.Linear(3, 2)(x)`
    binding = file.bindings[model.binding]
    if binding.how != "assign" or file.function_at(binding.context) != index:
        return False
    made = binding.value
    wrapped = made.argument(0) if isinstance(made, Call) and _WRAPS.search(made.name) else None
    if wrapped is not None and not _goes_out_of_use(file, wrapped, context):
        return False
    end = file.functions[index].at.end_line if index else len(file.lines)
    behind = file.lines[file.contexts[context].at.end_line : end]
    return not any(re.search(rf"\b{re.escape(model.name)}\b", line.partition("#")[0]) for line in behind)
