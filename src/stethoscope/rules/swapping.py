"""What tells in source code that a loss is given the target first and the prediction second."""

from __future__ import annotations

import re

from stethoscope.facts.answers import comes_with_data, is_answer, is_fed, is_handed_model, is_made_of
from stethoscope.facts.class_numbers import is_flat, is_table, is_whole
from stethoscope.facts.code import Attribute, Call, Code, Group, Name, Operation, Value
from stethoscope.facts.events import events_of, name_of
from stethoscope.facts.layers import output_of
from stethoscope.facts.loss_calls import LossUse
from stethoscope.facts.things import followed, literal
from stethoscope.rules.swapped_names import is_named_swapped, is_scored, last_name

ORDERED = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")


BY_NAME = "by its name the target", ", by its name scores"
"""All that is known are names, which who calls the function need not keep to."""
BY_AXES = "with one axis", ", of what is called like a model"
"""The same of what is called."""


def seen_as_target(file: Code, loss: LossUse) -> tuple[str, str] | None:
    """What tells that the first argument is the target, and what of the second that it is the prediction."""
    given, target = loss.given, loss.target
    if _is_named_as_it_is_given(file, loss) or _is_learned(file, given):
        return None
    from_model = is_answer(file, target)
    if is_whole(file, given):
        is_open = not is_whole(file, target) and not comes_with_data(file, target)
        return ("whole numbers", ", from the model" if from_model else "") if from_model or is_open else None
    if from_model and _is_target(file, loss):
        return "from the data", ", from the model"
    if not from_model and comes_with_data(file, given) and _is_alone(file, loss) and is_handed_model(file, target):
        return "from the data", ", which alone can have gradients"
    if loss.function != "nll_loss" and is_named_swapped(file, loss):
        return BY_NAME
    if loss.function in ("cross_entropy", "nll_loss") and is_flat(file, given) and not is_flat(file, target):
        if is_table(file, target):
            return "with one axis", ", with several axes"
        if not is_answer(file, given) and (from_model or output_of(file, target).kind == "linear"):
            return "with one axis", ", from the model"
        if not is_scored(file, given) and is_scored(file, target):
            return BY_AXES
    return None


def _is_learned(file: Code, given: Value | None) -> bool:
    """Whether the first argument is data that is itself to be learned, as where inputs or labels are looked for: it is
    switched to want gradients, or an optimizer has it.
    """
    while isinstance(given, Call) and (given.receiver is not None or given.name in _SQUASHING):
        given = given.receiver if given.name.startswith(".") else given.argument(0, "input")
    name = name_of(file, given) if isinstance(given, Name | Attribute) else ""
    switched = (one for one in file.calls_of(".requires_grad_") if not _is_switched_off(file, one))
    if not name or any(name_of(file, one.receiver) == name for one in switched):
        return bool(name)
    lists = (one.argument(0, "params") for one in file.calls if one.name.startswith("torch.optim."))
    items = [item for one in lists if isinstance(one, Group) for item in one.items]
    return any(isinstance(one, Name | Attribute) and name_of(file, one) == name for one in items)


_SQUASHING = ("torch.sigmoid", "torch.softmax", "torch.nn.functional.softmax", "torch.nn.functional.sigmoid")


def _is_switched_off(file: Code, call: Call) -> bool:
    return literal(file, call.argument(0, "requires_grad")) is False


def _is_named_as_it_is_given(file: Code, loss: LossUse) -> bool:
    """Whether the names say that all is well: `bce(pred_scores, target_scores)`."""
    given, target = (last_name(file, one) for one in (loss.given, loss.target))
    return _says_model(given) and not _says_model(target)


def _says_model(name: str) -> bool:
    """Whether a name says that a model gave it, and does not say that it is what is wanted."""
    return bool(_OF_MODEL.search(name)) and not _OF_DATA.search(name)


_OF_MODEL = re.compile(r"pred|logit|score|prob|outp|(?:^|_)outs?(?:_|$)|_hat$", re.I)
_OF_DATA = re.compile(r"target|label|(?:^|_)gts?(?:_|$)|truth|(?:^|_)true(?:_|$)|(?:^|_)real(?:_|$)|^ys_", re.I)


def _is_alone(file: Code, loss: LossUse) -> bool:
    """Whether this loss goes backward by itself, so that one of its arguments has gradients."""
    for event in events_of(file, file.function_at(loss.call.context)):
        if event.kind == "backward" and not event.via:
            found, _ = followed(file, event.subject)
            if isinstance(found, Operation) and found.operator == "/":
                found, _ = followed(file, found.operands[0])
            if found is loss.call:
                return True
    return False


def _is_target(file: Code, loss: LossUse) -> bool:
    """Whether the first argument is no prediction: it comes with the data, or is handed to where the model trains."""
    if isinstance(loss.given, Name) and is_made_of(file, loss.target, loss.given.binding):
        return False  # what is wanted was made by help of the scores
    if comes_with_data(file, loss.given):
        return True
    index = file.function_at(loss.call.context)
    goes_back = any(event.kind == "backward" and not event.via for event in events_of(file, index))
    for parameter in file.functions[index].parameters:
        # Of one batch that the function is given, one part is asked and another is the answer that is wanted.
        if comes_with_data(file, loss.given, given=parameter.binding) and (
            goes_back
            or is_fed(file, loss.target, parameter.binding)
            or output_of(file, loss.target).kind == "linear"  # raw scores are nobody's target
        ):
            return True
    return False
