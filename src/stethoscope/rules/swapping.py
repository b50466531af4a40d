"""What tells in source code that a loss is given the target first and the prediction second."""

from __future__ import annotations

from stethoscope.facts.answers import comes_with_data, is_answer, is_fed, is_handed_model, is_made_of
from stethoscope.facts.class_numbers import is_flat, is_table, is_whole
from stethoscope.facts.code import Code, Name, Operation
from stethoscope.facts.events import events_of
from stethoscope.facts.layers import output_of
from stethoscope.facts.loss_calls import LossUse
from stethoscope.facts.things import followed

ORDERED = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")


def seen_as_target(file: Code, loss: LossUse) -> tuple[str, str] | None:
    """What tells that the first argument is the target, and what of the second that it is the prediction."""
    given, target = loss.given, loss.target
    from_model = is_answer(file, target)
    if is_whole(file, given):
        is_open = not is_whole(file, target) and not comes_with_data(file, target)
        return ("whole numbers", ", from the model" if from_model else "") if from_model or is_open else None
    if from_model and _is_target(file, loss):
        return "from the data", ", from the model"
    if not from_model and comes_with_data(file, given) and _is_alone(file, loss) and is_handed_model(file, target):
        return "from the data", ", which alone can have gradients"
    if loss.function in ("cross_entropy", "nll_loss") and is_flat(file, given) and not is_flat(file, target):
        if is_table(file, target):
            return "with one axis", ", with several axes"
        if not is_answer(file, given) and (from_model or output_of(file, target).kind == "linear"):
            return "with one axis", ", from the model"
    return None


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
    if comes_with_data(file, loss.given):
        return True
    index = file.function_at(loss.call.context)
    if isinstance(loss.given, Name) and is_made_of(file, loss.target, loss.given.binding):
        return False  # what is wanted was made by help of the scores
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
