"""Shares that nothing is felt of, also where they are options of a program and nobody says otherwise.

nn.Dropout(1e-5)            of 100,000 numbers one
dropout: float = 0.0        likewise `--dropout` with default 0
"""

from __future__ import annotations

import re

from stethoscope.facts.code import Attribute, Code, Constant, Item, Value

LEAST = 0.001
"""A share below this one changes no answer that anyone reads."""


def is_zero(code: Code, value: Value | None) -> bool:
    """Whether a share is as good as 0, or an option, and every number that the file gives that option is 0."""
    if isinstance(value, Constant):
        return not isinstance(value.value, bool) and isinstance(value.value, int | float) and 0 <= value.value < LEAST
    name = ""
    if isinstance(value, Attribute):
        name = value.name
    elif isinstance(value, Item) and isinstance(value.key, Constant) and isinstance(value.key.value, str):
        name = value.key.value
    if not name.isidentifier():
        return False
    word = re.escape(name).replace("_", "[-_]")
    said = re.compile(
        rf"(?<!\w){word}[\"']?\s*(?::\s*[\w.]+\s*=|[:=])\s*(\d[\d.e-]*)"
        rf"|add_argument\([^()]*[\"']--?{word}[\"'][^()]*\bdefault\s*=\s*(\d[\d.e-]*)"
    )
    numbers = [one or other for one, other in said.findall(code.uncommented())]
    return bool(numbers) and all(not one.strip("0.") for one in numbers)
