"""The one output that a cross-entropy over classes is given, where there is no second."""

from __future__ import annotations

import re

from stethoscope.facts.class_counts import before
from stethoscope.facts.code import Call, Code
from stethoscope.facts.layers import Output
from stethoscope.facts.loss_calls import LossUse
from stethoscope.facts.things import followed, literal


def one_output(file: Code, loss: LossUse) -> Output | None:
    """The linear layer with one output whose answer a cross-entropy gets, as it is or behind an activation; None where
    there may be more, or where those of several rows are put side by side.
    """
    if loss.function != "cross_entropy":
        return None
    found = [loss.output] if loss.output.kind == "linear" else before(loss.output)
    is_one = bool(found) and all(_is_one(one) for one in found) and not _is_reshaped(file, loss, found[0])
    return found[0] if is_one else None


def _is_one(layer: Output) -> bool:
    made, home = layer.made, layer.made_in
    is_linear = made is not None and home is not None and made.name == "torch.nn.Linear"
    return is_linear and made is not None and home is not None and literal(home, made.argument(1, "out_features")) == 1


_SHAPES = frozenset({
    ".view", ".reshape", ".squeeze", ".unsqueeze", ".flatten", ".unflatten", ".permute", ".transpose", ".t", ".expand",
    ".repeat", "torch.reshape", "torch.squeeze", "torch.flatten", "torch.cat", "torch.stack", "torch.transpose",
    "torch.permute", "einops.rearrange",
})  # fmt: skip
_RESHAPING = re.compile(r"\.(?:view|reshape|squeeze|unflatten|flatten|permute|transpose|expand|repeat|cat|stack)\(")


def _is_reshaped(file: Code, loss: LossUse, head: Output) -> bool:
    """Whether the one output of several rows is put side by side before the loss, as of several choices."""
    value, _ = followed(file, loss.given)
    for _ in range(20):
        if isinstance(value, Call) and value.name in _SHAPES:
            return True
        if not isinstance(value, Call) or not value.name.startswith("."):
            break
        value, _ = followed(file, value.receiver)
    files = {file.file: file} | {other.file: other for other in file.linked.already_read()}
    lines = (line for step in (*loss.output.steps, *head.steps) if step.file in files
             for line in files[step.file].lines[step.at.line - 1 : step.at.end_line])  # fmt: skip
    return any(_RESHAPING.search(line) for line in lines)
