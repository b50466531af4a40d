"""Says in a finding where the graph of a loss was cut, by what, and how to join it again."""

from __future__ import annotations

import re

from stethoscope.core.finding import Evidence, Fix
from stethoscope.facts.code import Site
from stethoscope.facts.flow import Backward
from stethoscope.rules.sites import at, code


def line_of(backward: Backward) -> Site | None:
    """The line that cuts, where it is known; else the one that backpropagates."""
    return backward.cut_sites[0] if backward.cut_sites else backward.site


def words_for(site: Site) -> str:
    """`what is called in this line`, with the line."""
    call = _call_in(site.text)
    return f"`{call}` at {site}" if call else f"The line at {site}"


def _call_in(text: str) -> str:
    """What cuts a graph in this line, as it is written there."""
    match = re.search(
        r"\.detach_?\(\)|\.data\b|\.item\(\)|\.numpy\(\)|\.tolist\(\)|no_grad\(\)|inference_mode\(\)|\w+\.argmax\(|"
        r"\.argmax\(|torch\.(?:tensor|as_tensor|from_numpy)\(|\.(?:long|int|bool)\(\)|\bVariable\(|\bfloat\(",
        text,
    )
    return match[0] + (")" if match[0].endswith("(") else "") if match else ""


def where_it_ends(backward: Backward) -> list[Evidence]:
    """Where the graph ends, and the lines that may end it."""
    found = []
    words = {
        "gradients off": "the model ran with gradients switched off",
        "inside the model": "the model's output has none",
        "after the model": "the model's output still has one",
    }
    if backward.cut and not (backward.graphs > backward.unreached):
        found.append(Evidence("where the graph ends", words[backward.cut], "at the parameters"))
    if backward.cut_sites:
        shown = "; ".join(f"{site}: `{site.text}`" for site in backward.cut_sites[:2])
        found.append(Evidence("lines on the way that hand on values alone", shown, "none", "read in the source"))
    return found


def cause_of(backward: Backward) -> str:
    """Why the graph ends, in a sentence."""
    if backward.cut_sites:
        return f"{words_for(backward.cut_sites[0])} hands on values without the graph that made them."
    return {
        "gradients off": "Gradients were switched off when the model ran.",
        "inside the model": "The model's output comes without a graph: it is cut inside of `forward`.",
        "after the model": "The model's output has a graph, and the loss that is made of it has none.",
    }.get(backward.cut, f"The graph of the loss at {at(backward.site)} ends before it reaches a parameter.")


def fixes_for(backward: Backward, loss: str) -> list[Fix]:
    """How to hand the graph on; `loss` is what the script calls it."""
    text = backward.cut_sites[0].text if backward.cut_sites else ""
    edit = re.sub(r"\.detach_?\(\)|\.data\b(?!\w*\()|\.requires_grad_\((True)?\)", "", text)
    if text and edit != text:
        return [Fix(f"Hand on the tensor itself:\n{code(edit)}", edit=edit)]
    if backward.cut == "gradients off" or "no_grad" in text or "inference_mode" in text:
        return [
            Fix(
                "Run the model with gradients in training, and switch them off round validation alone:\n"
                + code("with torch.no_grad():", "    validate(model)")
            )
        ]
    if "argmax" in text:
        scores = code(f"{loss} = criterion(scores, targets)")
        return [Fix(f"Compute the loss from the scores; a choice among them has no gradient:\n{scores}")]
    return [
        Fix(
            "Compute the loss from the tensor that the model returned:\n"
            + code("output = model(inputs)", f"{loss} = criterion(output, targets)", f"{loss}.backward()")
        )
    ]
