"""Lines that are there to fail, or to be tried: in a `try`, or in a `with` that takes errors."""

from __future__ import annotations

import re

from stethoscope.facts.code import Call, Code

_TAKES_ERRORS = re.compile(r"aises|suppress|assertWarns|\bwarns|deprecated_call")


def is_there_to_fail(code: Code, context: int) -> bool:
    """Whether a line is in a `try`, or in a `with` that waits for an error or lets it go."""
    for here in code.around(context):
        if here.kind == "try":
            return True
        if here.kind == "with" and isinstance(here.value, Call) and _TAKES_ERRORS.search(here.value.name):
            return True
        if here.kind == "function":
            return False
    return False
