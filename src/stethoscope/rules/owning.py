"""Findings in source code about a model that is exchanged behind its optimizer's back."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import Evidence, Finding, Link, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Code
from stethoscope.facts.ownership import exchanges_of
from stethoscope.rules.lines import fitting, line_of, place_in, way_to
from stethoscope.rules.sites import code


def exchanged(rule: Rule, file: Code) -> Iterator[Finding]:
    """What was replaced after its optimizer was made, and is trained by that one."""
    for exchange in exchanges_of(file):
        name = exchange.binding.name
        what = "layer" if exchange.is_layer else "copy" if exchange.is_copy else "model"
        made = line_of(file, exchange.optimizer.at)
        kind = exchange.optimizer.name.rpartition(".")[2]
        yield rule.finding(
            fitting(
                f"`{name}` is exchanged after the optimizer was made", f"a {what} is exchanged behind its optimizer"
            ),
            sureness=Sureness.CERTAIN,
            place=place_in(file, exchange.binding.at),
            evidence=[
                Evidence(f"parameters of the new `{name}` in the {kind} of {made}", 0, "all of them"),
            ],
            cause=f"The {kind} holds the parameters that it was given on {made}; the {what} that `{name}` has since "
            f"{line_of(file, exchange.binding.at)} is another object, and no step changes it.",
            fixes=[
                "Make the optimizer when the model is complete:\n"
                + code(file.text(exchange.binding.at) + " = ...", f"optimizer = torch.optim.{kind}(...)")
            ],
            chain=[
                Link(place_in(file, exchange.optimizer.at), "the optimizer is made"),
                Link(place_in(file, exchange.binding.at), f"the {what} takes the old one's place"),
                *way_to(file, exchange.step, "the optimizer steps"),
            ],
        )  # fmt: skip
