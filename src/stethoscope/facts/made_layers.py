"""Layers that a constructor has made by a function beside its class: `self.features = make_layers(widths)`."""

from __future__ import annotations

import re

from stethoscope.facts.code import NOWHERE, Call, Code, Defined
from stethoscope.facts.options import is_zero
from stethoscope.facts.things import binding_of, literal


def makes_batch_norm(code: Code, call: Call) -> bool:
    """Whether a call is of a function of the file that makes batch normalization, whatever it is given."""
    binding = binding_of(code, call.receiver) if call.name == "()" else None
    defined = binding.value if binding is not None else None
    if not isinstance(defined, Defined) or defined.kind != "function":
        return False
    function = code.functions[defined.number]
    if function.owner != NOWHERE:
        return False
    given = re.compile(rf"\b(?:{'|'.join(re.escape(one.name) for one in function.parameters) or '(?!)'})\b")
    return any(
        made.name.startswith("torch.nn.BatchNorm") and not _is_chosen(code, made, given)
        for made in code.calls[slice(*function.calls)]
    )


def _is_chosen(code: Code, made: Call, given: re.Pattern[str]) -> bool:
    """Whether a layer is made only where something that the function is given says so: `if batch_norm:`."""
    return any(
        here.kind in ("if", "else") and here.value is not None and given.search(code.text(here.value.at))
        for here in code.around(made.context)
    )


def keeps_no_statistics(code: Code, call: Call) -> bool:
    """Whether a call makes a batch normalization that does the same in both modes, or a layer of torch's whose dropout
    is said to be 0.
    """
    if call.name.startswith("torch.nn.") and call.keyword("dropout") is not None:
        return is_zero(code, call.keyword("dropout"))
    return "BatchNorm" in call.name and literal(code, call.keyword("track_running_stats")) is False


def drops_nothing(code: Code | None, call: Call | None) -> bool:
    """Whether a call makes a dropout of a share that is as good as 0."""
    if code is None or call is None or "Dropout" not in call.name:
        return False
    return is_zero(code, call.argument(0, "p"))
