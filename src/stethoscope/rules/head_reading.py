"""Findings in source code about a last activation, a loss and labels that do not go together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import At, Call, Code, Name, Value
from stethoscope.facts.keras_models import Compiled, Head, compiled_in
from stethoscope.facts.loss_calls import LossUse, losses_of
from stethoscope.facts.origins import thing_of
from stethoscope.facts.shapes import is_centred
from stethoscope.facts.things import followed, iterated
from stethoscope.rules.keras_heads import BINARY, CATEGORICAL, CLASSES
from stethoscope.rules.lines import fitting, line_of, place_in, quoted, where
from stethoscope.rules.pairing import links, made_at, once
from stethoscope.rules.sites import code

SQUARED = {
    "mse": "the squared error", "meansquarederror": "the squared error", "mae": "the absolute error",
    "meanabsoluteerror": "the absolute error",
}  # fmt: skip
REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
CLASS_DATA = re.compile(
    r"torchvision\.datasets(?:\.\w+)*\."
    r"(?:MNIST|FashionMNIST|KMNIST|QMNIST|CIFAR10|CIFAR100|STL10|SVHN|ImageFolder|ImageNet|Food101|Flowers102)"
)
"""Data sets whose second item is the index of a class."""
_SAME_NUMBERS = frozenset({".to", ".float", ".double", ".cuda", ".cpu", ".unsqueeze", ".view", ".reshape", ".type"})
SCORES = ("cross_entropy", "binary_cross_entropy_with_logits")
CEILINGS = {
    ("relu", "cross_entropy"): "a class can be favoured but none can be ruled out: where all scores are 0 nothing is "
    "learned",
    ("relu", "binary_cross_entropy_with_logits"): "no answer below a probability of 0.5 is possible",
    ("tanh", "cross_entropy"): "between -1 and 1, of ten classes none gets a probability above 0.45",
    ("tanh", "binary_cross_entropy_with_logits"): "probabilities stay between 0.27 and 0.73",
}
"""What an activation makes of the scores that a loss expects."""


def misfits(rule: Rule, file: Code) -> Iterator[Finding]:
    """Keras models whose last activation answers another question than their loss asks."""
    for compiled in compiled_in(file):
        head = compiled.head
        if head is None or head.units is None or compiled.from_logits:
            continue
        if head.activation == "softmax" and head.units > 2 and compiled.loss in BINARY:
            yield _misfit(rule, file, compiled, head, "judges each class by itself", "CategoricalCrossentropy()")
        elif head.activation == "softmax" and head.units > 1 and compiled.loss in SQUARED:
            yield _misfit(rule, file, compiled, head, "hardly corrects a class that is sure and not right, since its "
                          "gradient through the softmax is nearly 0 there", "CategoricalCrossentropy()")  # fmt: skip
        elif head.activation == "sigmoid" and head.units > 1 and compiled.loss in CATEGORICAL:
            yield _misfit(rule, file, compiled, head, "is about exclusive classes, whose probabilities sum to 1",
                          "BinaryCrossentropy()")  # fmt: skip


def _misfit(rule: Rule, file: Code, compiled: Compiled, head: Head, does: str, other: str) -> Finding:
    loss = CLASSES.get(compiled.loss) or SQUARED[compiled.loss]
    named = f"`{loss}`" if compiled.loss in CLASSES else loss
    matching = "softmax" if head.activation == "sigmoid" else "sigmoid" if compiled.loss in BINARY else None
    fixes = ["Use the loss that goes with it:\n" + code(f"loss=keras.losses.{other}")]
    if matching:
        fixes.append("Or the activation that goes with the loss:\n"
                     + code(f'layers.Dense({head.units}, activation="{matching}")'))  # fmt: skip
    return rule.finding(
        f"{named} behind a {head.activation} over {head.units} units",
        severity=Severity.WARNING,
        sureness=Sureness.CERTAIN,
        place=place_in(file, compiled.loss_at.at),
        evidence=[
            Evidence(f"{head.activation} units of the last layer on {_line(file, head.code, head.layer.at)}",
                     head.units or 0, "a loss for them", "read in the code")
        ],
        cause=f"{named[0].upper() if named[0] != '`' else named[0]}{named[1:]} {does}.",
        fixes=fixes,
        chain=[
            Link(place_in(file, compiled.loss_at.at), "the loss is chosen"),
            Link(place_in(head.code, head.layer.at), "the last layer"),
        ],
    )  # fmt: skip


def labels_as_numbers(rule: Rule, file: Code) -> Iterator[Finding]:
    """Losses for numbers that are given the class indices of a data set of torchvision."""
    for loss in losses_of(file):
        data = _classes_of(file, loss.target) if loss.function in REGRESSION else None
        if data is None:
            continue
        target = quoted(file, loss.target, "the target")
        name = data.name.rpartition(".")[2]
        yield rule.finding(
            fitting(f"`{loss.function}` of {target}, which are class indices", f"`{loss.function}` of class indices"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, loss.call.at),
            evidence=[Evidence(f"what {target} holds, from `{name}` on {line_of(file, data.at)}",
                               "indices of classes, from 0 on", "numbers for which 7 lies between 6 and 8")],
            cause="To this loss class 7 lies between 6 and 8, and an answer between two classes is half right.",
            fixes=["Give a score for each class, and compare them:\n" + code("loss = F.cross_entropy(scores, labels)")],
            chain=[Link(place_in(file, loss.call.at), "the loss"), Link(place_in(file, data.at), "the data")],
        )  # fmt: skip


def _classes_of(file: Code, target: Value | None) -> Call | None:
    """The data set of torchvision whose class indices a value holds."""
    for _ in range(20):
        target, _ = followed(file, target)
        if isinstance(target, Call) and target.name in _SAME_NUMBERS:
            target = target.receiver
        else:
            break
    if not isinstance(target, Name) or target.binding < 0:
        return None
    binding = file.bindings[target.binding]
    if binding.how != "for":
        return None
    source, item = iterated(file, binding.value, binding.item)
    loader = thing_of(file, source)
    if loader.kind != "loader" or loader.made is None or loader.made_in is not file or item != (1,):
        return None
    data, _ = followed(file, loader.made.argument(0, "dataset"))
    known = isinstance(data, Call) and CLASS_DATA.fullmatch(data.name) and data.keyword("target_transform") is None
    return data if known and isinstance(data, Call) else None


def limited(rule: Rule, file: Code) -> Iterator[Finding]:
    """Activations in front of losses that expect scores without bounds, or probabilities, or negative numbers."""
    for loss in once(losses_of(file)):
        kind = loss.output.kind
        if kind in ("relu", "sigmoid", "softplus") and loss.function in REGRESSION and is_centred(file, loss.target):
            yield _never_negative(rule, file, loss)
        if (kind, loss.function) not in CEILINGS:
            continue
        reach = "0 and above" if kind == "relu" else "-1 to 1"
        yield rule.finding(
            fitting(f"`{loss.function}` gets scores behind a {kind}", f"scores go through a {kind}"),
            severity=Severity.WARNING if loss.function == "cross_entropy" else Severity.ERROR,
            sureness=Sureness.CERTAIN,
            place=place_in(file, loss.call.at),
            evidence=[Evidence(f"scores that the {kind}{made_at(file, loss)} can give", reach, "any number")],
            cause=f"`{loss.function}` turns scores of any size into probabilities. Behind a {kind} "
            f"{CEILINGS[kind, loss.function]}.",
            fixes=[f"Let the last layer be linear: take the `{kind}` off, which{made_at(file, loss) or ' it has'}."],
            chain=links(file, loss),
        )
    for compiled in compiled_in(file):
        head = compiled.head
        if head is None or head.activation not in ("relu", "tanh") or compiled.loss not in CLASSES:
            continue
        name, right = CLASSES[compiled.loss], "sigmoid" if compiled.loss in BINARY else "softmax"
        reach = "0 and above" if head.activation == "relu" else "-1 to 1"
        yield rule.finding(
            fitting(f"`{name}` behind a {head.activation}", f"the loss gets what a {head.activation} gives"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, compiled.loss_at.at),
            evidence=[Evidence(f"what the last layer on {_line(file, head.code, head.layer.at)} can give", reach,
                               "any number" if compiled.from_logits else "0 to 1")],
            cause=f"The loss expects {'scores of any size' if compiled.from_logits else 'probabilities'}, and a "
            f"{head.activation} does not give them.",
            fixes=["Take the activation that goes with the loss:\n"
                   + code(f"layers.Dense({head.units or 1})" if compiled.from_logits else
                          f'layers.Dense({head.units or 1}, activation="{right}")')],
            chain=[Link(place_in(file, compiled.loss_at.at), "the loss is chosen"),
                   Link(place_in(head.code, head.layer.at), "the last layer")],
        )  # fmt: skip


def _never_negative(rule: Rule, file: Code, loss: LossUse) -> Finding:
    kind, target = loss.output.kind, quoted(file, loss.target, "the target")
    return rule.finding(
        fitting(f"a {kind} comes last, and {target} is negative half of the time", f"a {kind} cannot give the targets"),
        sureness=Sureness.CERTAIN,
        place=place_in(file, loss.call.at),
        evidence=[Evidence(f"what the {kind}{made_at(file, loss)} can give", "0 and above", "below 0 as well",
                           "the targets have their mean taken off")],
        cause=f"The mean of {target} is 0, and no weights make the {kind} give the half of it that is below.",
        fixes=[f"Let the last layer be linear: take the `{kind}` off, which{made_at(file, loss) or ' it has'}."],
        chain=links(file, loss),
    )  # fmt: skip


def _line(file: Code, home: Code, at: At) -> str:
    return line_of(home, at) if home is file else where(home, at)
