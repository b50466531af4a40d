"""What a script measures by itself, read in its code: answers compared along an axis, cut at a threshold, averaged, or
given to a library on the other side.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Call,
    Code,
    Item,
    Name,
    Operation,
    Value,
)
from stethoscope.facts.expressions import operations_of
from stethoscope.facts.loss_calls import LossUse, losses_of
from stethoscope.facts.origins import called, thing_of
from stethoscope.facts.shapes import column_of, one_axis
from stethoscope.facts.things import binding_of, followed, iterated, literal

ONE_SIDED = frozenset({
    "precision_score", "recall_score", "classification_report", "r2_score", "log_loss", "fbeta_score",
    "average_precision_score", "explained_variance_score", "balanced_accuracy_score", "precision_recall_fscore_support",
    "mean_absolute_percentage_error", "roc_auc_score", "roc_curve", "precision_recall_curve",
})  # fmt: skip
"""Functions of `sklearn.metrics` for which it matters which side holds the targets."""
_SAME_SCORES = frozenset({
    ".detach", ".cpu", ".numpy", ".squeeze", ".view", ".reshape", ".flatten", ".clone", ".cuda", ".to", ".float",
    ".unsqueeze", ".ravel",
})  # fmt: skip


class Reduced(NamedTuple):
    """The largest score along the axis of the samples."""

    call: Call
    compared: At
    loader: Call


class Cut(NamedTuple):
    """Raw scores that are cut at 0.5."""

    at: At
    loss: LossUse


class Averaged(NamedTuple):
    """A sum that is divided by the length of something else than what was added."""

    at: At
    name: str
    added: At
    adds: str
    divisor: str


def unwrapped(code: Code, value: Value | None) -> Value | None:
    """The tensor behind `scores.detach().cpu()`, a variable where it is one that holds what a call gave."""
    for _ in range(30):
        if isinstance(value, Call) and value.name in _SAME_SCORES and value.receiver is not None:
            value = value.receiver
        elif isinstance(value, Attribute) and value.name == "data":
            value = value.value
        elif isinstance(value, Name) and value.binding != NOWHERE:
            binding = code.bindings[value.binding]
            inner = binding.value
            if binding.how != "assign" or binding.item or not isinstance(inner, Call | Name | Attribute):
                return value
            if isinstance(inner, Call) and inner.name not in _SAME_SCORES:
                return value
            value = inner
        else:
            return value
    return value


def reduced_over_samples(code: Code) -> Iterator[Reduced]:
    """What a model answers to a batch of a loader, of which the largest along axis 0 is compared with targets."""
    if not code.says("DataLoader") or not code.calls_of(".argmax", "torch.argmax", ".max", "torch.max"):
        return
    for compared in _comparisons(code):
        for side in compared[1]:
            call, _ = followed(code, side)
            binding = binding_of(code, side)
            if binding is not None and binding.item == (1,) and isinstance(binding.value, Call):
                call = binding.value  # of `_, predicted = torch.max(scores, 0)`
            elif (isinstance(call, Item) and literal(code, call.key) == 1) or (
                isinstance(call, Attribute) and call.name == "indices"
            ):
                call, _ = followed(code, call.value)
            elif not (isinstance(call, Call) and call.name in (".argmax", "torch.argmax")):
                continue
            if not isinstance(call, Call) or call.name not in (".argmax", "torch.argmax", ".max", "torch.max"):
                continue
            function = call.name.startswith("torch.")
            axis = call.argument(1 if function else 0, "dim") or call.keyword("axis")
            scores = call.argument(0, "input") if function else call.receiver
            loader = _batch_of(code, scores)
            if literal(code, axis) == 0 and type(literal(code, axis)) is int and loader is not None:
                yield Reduced(call, compared[0], loader)


def _comparisons(code: Code) -> Iterator[tuple[At, tuple[Value, ...]]]:
    for operation in operations_of(code, "=="):
        yield operation.at, operation.operands
    for call in code.calls_of(".eq", "torch.eq"):
        sides = (call.receiver, *call.arguments) if call.name == ".eq" else call.arguments
        yield call.at, tuple(side for side in sides if side is not None)


def columns_with_rows(code: Code) -> Iterator[tuple[At, Call]]:
    """Comparisons of a column of answers with a row of targets, and the layer with one output."""
    for at, sides in _comparisons(code) if code.says("sklearn") else ():
        if len(sides) != 2:
            continue
        for answers, targets in (sides, sides[::-1]):
            found, _ = followed(code, answers)
            cut = found.operands[0] if isinstance(found, Operation) and found.operator in (">", ">=") else answers
            layer = column_of(code, cut)
            if layer is not None and one_axis(code, targets):
                yield at, layer


def _batch_of(code: Code, scores: Value | None) -> Call | None:
    """The loader to whose batches these are a model's answers; None where it may be a single sample."""
    found = unwrapped(code, scores)
    made, _ = followed(code, found)
    if not isinstance(made, Call) or called(code, made).kind not in ("module", "unknown") or made.name != "()":
        return None
    given = unwrapped(code, made.argument(0))
    if not isinstance(given, Name) or given.binding == NOWHERE or code.bindings[given.binding].how != "for":
        return None
    binding = code.bindings[given.binding]
    source, item = iterated(code, binding.value, binding.item)
    loader = thing_of(code, source)
    known = loader.kind == "loader" and loader.made is not None and item == (0,)
    batched = known and loader.made is not None and loader.made.keyword("batch_size") is not None
    return loader.made if batched and not _is_none(code, loader.made) else None


def _is_none(code: Code, made: Call | None) -> bool:
    return made is None or literal(code, made.keyword("batch_size")) in (None, 1)


def cut_scores(code: Code) -> Iterator[Cut]:
    """Raw scores, which a loss turns into probabilities itself, that are compared with 0.5 or rounded."""
    raw: dict[int | None, LossUse] = {}
    for loss in losses_of(code):
        if loss.function == "binary_cross_entropy_with_logits":
            key = _identity(code, loss.given)
            if key is not None:
                raw.setdefault(key, loss)
    if not raw:
        return
    for operation in operations_of(code, ">", ">="):
        if len(operation.operands) == 2 and literal(code, operation.operands[1]) == 0.5:
            compared = raw.get(_identity(code, operation.operands[0]))
            if compared is not None:
                yield Cut(operation.at, compared)
    for call in code.calls_of("torch.round", ".round"):
        value = call.argument(0) if call.name == "torch.round" else call.receiver
        rounded = raw.get(_identity(code, value))
        if rounded is not None and not (call.arguments[1:] or call.keywords):
            yield Cut(call.at, rounded)


def _identity(code: Code, value: Value | None) -> int | None:
    """The call that made a tensor, whatever that is called: `model(x)`; None where it is not known."""
    found, _ = followed(code, unwrapped(code, value))
    return found.number if isinstance(found, Call) and not found.name.startswith("torch.") else None


def averaged(code: Code) -> Iterator[Averaged]:
    """Sums over samples that are divided by a number of batches, and sums over batches by a number of samples."""
    sums = dict(_sums(code))
    if not sums:
        return
    divisions = list(operations_of(code, "/"))
    inside = {one.at for operation in divisions for one in operation.operands if isinstance(one, Operation)}
    scaled = {one.at for operation in operations_of(code, "*") for one in operation.operands}
    told = set()
    for operation in divisions:
        total, divisor = operation.operands
        if not isinstance(total, Name) or not isinstance(divisor, Call) or divisor.name != "builtins.len":
            continue
        if total.binding not in sums or total.binding in told or operation.at in inside or operation.at in scaled:
            continue
        at, adds, loader = sums[total.binding]
        of_samples, same = _length(code, divisor.argument(0), loader)
        if same and of_samples is not None and of_samples != (adds == "samples"):
            told.add(total.binding)
            yield Averaged(operation.at, total.name, at, adds, code.text(divisor.at))


def _length(code: Code, value: Value | None, loader: Call) -> tuple[bool | None, bool]:
    """Whether a length is that of the samples or of the batches, and whether it is that of this loader."""
    if isinstance(value, Attribute) and value.name == "dataset":
        return True, thing_of(code, value.value).made is loader
    thing = thing_of(code, value)
    return (False, thing.made is loader) if thing.kind == "loader" else (None, False)


def _sums(code: Code) -> Iterator[tuple[int, tuple[At, str, Call]]]:
    """The bindings by which a loop over a loader adds up: how many are equal, or the mean of each batch."""
    losses = {loss.call.number: loss for loss in losses_of(code)}
    for number, binding in enumerate(code.bindings):
        value = binding.value
        if binding.how != "augment" or not isinstance(value, Operation) or value.operator != "+":
            continue
        loop = next((here for here in code.around(binding.context) if here.kind in ("for", "while", "function")), None)
        if loop is None or loop.kind != "for":
            continue
        source, _ = iterated(code, loop.value)
        loader = thing_of(code, source)
        if loader.kind != "loader" or loader.made is None:
            continue
        term: Value | None = value.operands[1]
        while isinstance(term, Call) and term.name in (".item", ".cpu", ".detach", "builtins.float"):
            term = term.receiver if term.receiver is not None else term.argument(0)
        term, _ = followed(code, term)
        while isinstance(term, Call) and term.name in (".item", ".cpu", ".detach"):
            term, _ = followed(code, term.receiver)
        if not isinstance(term, Call):
            continue
        if term.name == ".sum" and not term.arguments and _is_equality(code, term.receiver):
            yield number, (binding.at, "samples", loader.made)
        loss = losses.get(term.number)
        if loss is not None and loss.option("reduction") is None and loss.option("size_average") is None:
            open_ended = loss.call.is_open or (loss.made is not None and loss.made.is_open)
            if not open_ended:
                yield number, (binding.at, "means of batches", loader.made)


def _is_equality(code: Code, value: Value | None) -> bool:
    found, _ = followed(code, value)
    while isinstance(found, Call) and found.name in (".float", ".long", ".int", ".type", ".cpu"):
        found, _ = followed(code, found.receiver)
    if isinstance(found, Call):
        return found.name in (".eq", "torch.eq")
    return isinstance(found, Operation) and found.operator == "=="


def swapped(code: Code) -> Iterator[tuple[Call, str]]:
    """Measures that are given a model's answers where the targets belong: the call, and the function's name."""
    for call in code.calls_named(lambda name: name.startswith("sklearn.metrics.")):
        name = call.name.rpartition(".")[2]
        if call.receiver is not None or name not in ONE_SIDED:
            continue
        if len(call.arguments) < 2 or call.is_open:
            continue
        first, second = call.arguments[:2]
        if _is_answer(code, first) and _is_target(code, second):
            yield call, name


def _is_answer(code: Code, value: Value | None) -> bool:
    found, _ = followed(code, value)
    return isinstance(found, Call) and found.name in (".predict", ".predict_proba", ".decision_function")


def _is_target(code: Code, value: Value | None) -> bool:
    """Whether a value is for certain not made by a model: part of a split, a column, or an argument of a function."""
    found, _ = followed(code, value)
    if isinstance(found, Call):
        return False
    binding = binding_of(code, found)
    if isinstance(found, Name) and binding is not None:
        made = binding.value
        return binding.how == "assign" and isinstance(made, Call) and "split" in made.name
    return isinstance(found, Item)
