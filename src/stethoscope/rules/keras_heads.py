"""Findings about the last layer and the loss of a Keras model, as they are read: what several rules share."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from stethoscope.core.finding import Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.facts.keras_models import Compiled, Head, compiled_in, runs_without_tensorflow
from stethoscope.facts.things import literal
from stethoscope.rules.lines import fitting, line_of, place_in, where
from stethoscope.rules.sites import code

CATEGORICAL = ("categoricalcrossentropy", "sparsecategoricalcrossentropy")
BINARY = ("binarycrossentropy",)
CLASSES = {
    "categoricalcrossentropy": "CategoricalCrossentropy",
    "sparsecategoricalcrossentropy": "SparseCategoricalCrossentropy",
    "binarycrossentropy": "BinaryCrossentropy",
}


def raw_scores(rule: Rule, file: Code, losses: Collection[str], right: str) -> Iterator[Finding]:
    """Losses that expect probabilities, behind a last layer without an activation."""
    if any(literal(file, fit.argument(0, "x")) is ... for fit in file.calls_of(".fit")):
        return  # a sketch, without data
    for compiled, head in _compiled(file, losses, from_logits=False):
        if head.activation != "linear":
            continue
        name = CLASSES[compiled.loss]
        yield rule.finding(
            fitting(f"raw scores go into `{name}`", "raw scores go into the loss"),
            sureness=Sureness.CERTAIN,
            place=place_in(file, compiled.loss_at.at),
            evidence=[
                Evidence(f"activation of the last layer on {_line(file, head)}", "none: any number", f"`{right}`")
            ],
            cause="Without `from_logits=True` the loss takes its input for probabilities: what is below 0 is cut to "
            "1e-7, and has no gradient.",
            fixes=[
                "Tell the loss that it gets scores:\n" + code(f"loss=keras.losses.{name}(from_logits=True)"),
                "Or end the model in probabilities:\n" + code(f'layers.Dense({head.units or 1}, activation="{right}")'),
            ],
            chain=_links(file, compiled, head),
        )  # fmt: skip


def twice(rule: Rule, file: Code, losses: Collection[str], activations: Collection[str]) -> Iterator[Finding]:
    """Losses with `from_logits=True` behind a last layer that makes probabilities."""
    is_sure = runs_without_tensorflow(file)
    for compiled, head in _compiled(file, losses, from_logits=True):
        if head.activation not in activations:
            continue
        name, done = CLASSES[compiled.loss], head.activation
        elsewhere = " On TensorFlow Keras takes the scores behind it, and warns; on JAX and torch it runs twice."
        yield rule.finding(
            f"{done} runs twice: in the last layer and in the loss"
            if is_sure
            else f"{done} in the last layer, and `from_logits=True` in the loss",
            severity=Severity.ERROR if is_sure else Severity.WARNING,
            sureness=Sureness.CERTAIN if is_sure else Sureness.POSSIBLE,
            place=place_in(file, compiled.loss_at.at),
            evidence=[Evidence(f"activation of the last layer on {_line(file, head)}", f"1 {done}", "none")],
            cause=f"With `from_logits=True` the loss applies {done} itself, and the last layer has applied it already."
            + ("" if is_sure else elsewhere),
            fixes=[
                "Take the activation off the last layer:\n" + code(f"layers.Dense({head.units or 10})"),
                "Or keep it, and leave `from_logits` out:\n" + code(f"loss=keras.losses.{name}()"),
            ],
            chain=_links(file, compiled, head),
        )


def _compiled(file: Code, losses: Collection[str], *, from_logits: bool) -> Iterator[tuple[Compiled, Head]]:
    for compiled in compiled_in(file):
        if compiled.head is not None and compiled.loss in losses and compiled.from_logits is from_logits:
            yield compiled, compiled.head


def _line(file: Code, head: Head) -> str:
    return line_of(file, head.layer.at) if head.code is file else where(head.code, head.layer.at)


def _links(file: Code, compiled: Compiled, head: Head) -> tuple[Link, ...]:
    return (
        Link(place_in(file, compiled.loss_at.at), "the loss is chosen"),
        Link(place_in(head.code, head.layer.at), "the last layer"),
    )
