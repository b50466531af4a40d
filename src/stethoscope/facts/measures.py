"""What an evaluation makes of its answers: whether they are measured over all batches of a data set, and looked at no
further.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Call,
    Choice,
    Code,
    Context,
    Each,
    Group,
    Item,
    Name,
    Operation,
    Starred,
    Value,
)
from stethoscope.facts.evaluations import READING, Evaluation
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import iterated

MOST_VALUES = 200
"""Values that are followed from what is kept back to the answer, at most."""
COLLECTING = frozenset({".append", ".extend", ".update", ".add", ".add_batch", ".process"})
"""Methods that keep something over the rounds of a loop: of a list, a meter, a metric."""
_JOINING = re.compile(r"(?:torch\.(?:cat|concat|vstack|hstack)|numpy\.(?:append|concatenate|vstack|hstack|r_|c_))$")
"""Functions that put an answer behind those of the batches before: `found = torch.cat([found, scores])`."""
_READ = READING | {".detach", ".max", ".round", ".sum", ".data", "builtins.int", "torch.sum", "torch.round"}
"""Whatever of an answer goes into a measure: a number, a class, a share that is right."""
_OF_DATA = re.compile(
    r"loader|(?<![a-z])data(?![a-z])|data_?set|batches|(?<![a-z])dl(?![a-z])|_iter\b|iterator|batch_iter|next_batch"
    r"|(?<![a-z])(?:val|valid|validation|test|eval|dev|train)(?:_?set|_?ds|ing)?\b",
    re.I,
)
"""Names of what a loop goes over that hold batches: `test_loader`, `val_data`, `batches`."""
_KEYS = re.compile(r"\[[^\]]*\]")
"""What is taken of a batch: its name is none of a data set's."""
_WANTED = re.compile(
    r"requires_grad|\bfreez|(?<!dataclass\()(?<!slots=True, )\bfrozen"
    r"|attack|fgsm|\bpgd|saliency|grad_?cam|captum|create_graph|autograd\.grad|\bprun"
    r"|set_grad_enabled|enable_grad|backward_hook|register_hook|retain_grad|hessian|jacobian|fisher|\bmaml|influence"
    r"|(?<![a-z])(?:toggle|set|enable|disable|switch)_\w*grad(?:ient)?s?\b|set_trainable",
    re.I,
)
"""Words of a file in which gradients are switched for reasons of its own, or wanted of a model that is not trained."""
_ASKED = re.compile(r"\.requires_grad\b(?!\s*=(?!=))(?!\s*,.*\s=\s)")
_FROZEN = re.compile(r"requires_grad\s*=(?!=)|requires_grad_\(|freez|frozen", re.I)


def are_gradients_switched(code: Code) -> bool:
    """Whether a file has such words; a parameter that is asked whether it learns, `if p.requires_grad`, as where they
    are counted, is none where no file of the project that this one uses switches any.
    """
    if not code.matches(_WANTED):
        return False
    text = _ASKED.sub("", code.uncommented())
    return _WANTED.search(text) is not None or code.linked.match(_FROZEN)


def measures_data(found: Evaluation) -> bool:
    """Whether its answers are measured over the batches of a data set: a loop over a loader feeds the model, and a
    loss, the number that are right, or the answers themselves are summed or collected over its rounds, or an evaluator
    of boxes is given them.
    """
    if not found.is_fed or not _goes_over_data(found):
        return False
    return (found.is_read and any(_kept(found))) or _asks_evaluator(found)


def _asks_evaluator(found: Evaluation) -> bool:
    """Whether what each round finds is handed to an evaluator: `coco_evaluator.update(found)`."""
    code, function = found.code, found.code.functions[found.function]
    return any(
        call.name in COLLECTING
        and call.arguments
        and call.receiver is not None
        and _EVALUATOR.search(code.text(call.receiver.at)) is not None
        and found.context in code.numbers_around(call.context)
        for call in code.calls[slice(*function.calls)]
    )


_EVALUATOR = re.compile(r"(?:^|[._])(?:\w*_)?evaluator$", re.I)


def may_run_under_a_framework(found: Evaluation) -> bool:
    """Whether it is a method that nobody calls here, of a class whose base is not seen: the base may call it, without
    a graph.
    """
    code = found.code
    owner = code.class_of(found.function)
    if found.callers_known or owner == NOWHERE:
        return False
    return any(
        thing_of(code, base).cls is None and not _is_known_base(code, base) for base in code.classes[owner].bases
    )


def keeps_measures(found: Evaluation) -> bool:
    """Whether something that is read off the answers is summed or collected over the rounds of a loop."""
    return any(_kept(found))


def _is_known_base(code: Code, base: Value) -> bool:
    return code.text(base.at) in ("object", "ABC", "abc.ABC", "nn.Module", "torch.nn.Module", "Module")


def _goes_over_data(found: Evaluation) -> bool:
    """Whether one of its loops goes over batches: a loader, or what is named so."""
    return any(_is_over_data(found.code, loop) for loop in _loops(found))


def _loops(found: Evaluation) -> Iterator[Context]:
    """The loops around the model's call, innermost first."""
    for number in found.code.numbers_around(found.forward.context):
        here = found.code.contexts[number]
        if here.kind in ("for", "while"):
            yield here
        if number == found.context:
            return


def _is_over_data(code: Code, loop: Context) -> bool:
    if loop.kind != "for" or loop.value is None:
        return False
    source, _ = iterated(code, loop.value, (1,))
    if source is None:
        return False
    if thing_of(code, source).kind in ("loader", "dataset"):
        return True
    if isinstance(source, Call) and source.name == "builtins.range":
        return False
    said = (code.text(loop.value.at), code.text(source.at), source.name if isinstance(source, Call) else "")
    return any(_OF_DATA.search(_KEYS.sub("", one)) is not None for one in said)


def _kept(found: Evaluation) -> Iterator[Value]:
    """What comes of an answer and is kept over the rounds."""
    code, function = found.code, found.code.functions[found.function]
    for binding in code.bindings[slice(*function.bindings)]:
        if binding.value is None or found.context not in code.numbers_around(binding.context):
            continue
        is_joined = isinstance(binding.value, Call) and _JOINING.search(binding.value.name) is not None
        if (binding.how == "augment" or is_joined or _adds_to_itself(binding.name, binding.value)) and comes_of_answer(
            found, binding.value, is_read=False
        ):
            yield binding.value
    for call in code.calls[slice(*function.calls)]:
        if call.name in COLLECTING and found.context in code.numbers_around(call.context):
            given = (*call.arguments, *(value for _, value in call.keywords))
            is_list = call.name in (".append", ".extend")
            if any(comes_of_answer(found, value, is_read=not is_list) for value in given):
                yield call


def _adds_to_itself(name: str, value: Value) -> bool:
    """`total = total + loss.item()`."""
    return (
        isinstance(value, Operation)
        and value.operator == "+"
        and any(isinstance(one, Name) and one.name == name for one in value.operands)
    )


def comes_of_answer(found: Evaluation, value: Value, *, is_read: bool) -> bool:
    """Whether a value comes of the model's answer, and only of what is read from it, where it has to be."""
    code, call = found.code, found.forward.call
    waiting, seen = [(value, is_read)], set[tuple[int, bool]]()
    for _ in range(MOST_VALUES):
        if not waiting or call is None:
            return False
        one, read = waiting.pop()
        if isinstance(one, Call) and one.number == call.number:
            if read:
                return True
            continue
        if isinstance(one, Name):
            if one.binding == NOWHERE or (one.binding, read) in seen:
                continue
            seen.add((one.binding, read))
            binding = code.bindings[one.binding]
            waiting += [(Name(one.name, option, one.at), read) for option in binding.options]
            if binding.value is not None and found.context in code.numbers_around(binding.context):
                waiting.append((binding.value, read))
            continue
        reads = read or _reads(one)
        waiting += [(inner, reads) for inner in inside_of(one)]
    return False


def _reads(value: Value) -> bool:
    if isinstance(value, Call):
        return value.name in _READ
    if isinstance(value, Attribute):
        return value.name == "data"
    return isinstance(value, Operation) and value.operator in ("==", "!=", ">", "<", ">=", "<=")


def inside_of(value: Value) -> tuple[Value, ...]:
    """The values that stand directly in a value."""
    if isinstance(value, Call):
        given = (*value.arguments, *(one for _, one in value.keywords))
        return given if value.receiver is None else (*given, value.receiver)
    if isinstance(value, Attribute | Starred):
        return (value.value,)
    if isinstance(value, Item):
        return (value.value, value.key)
    if isinstance(value, Operation):
        return value.operands
    if isinstance(value, Group):
        return value.items
    if isinstance(value, Each):
        return (value.element, value.source)
    return value.options if isinstance(value, Choice) else ()
