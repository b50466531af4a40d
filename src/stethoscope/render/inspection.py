"""What came of inspecting data sets, in a terminal: what was read, then the findings, the gravest last."""

from __future__ import annotations

from typing import TextIO

from stethoscope.core.finding import Diagnosis
from stethoscope.core.text import Line, wrapped
from stethoscope.facts.data import Data
from stethoscope.render.account import summary
from stethoscope.render.document import layout, message_of
from stethoscope.render.terminal import page_width, write_lines


def print_inspection(diagnosis: Diagnosis, data: Data, *, stream: TextIO, took: float | None = None) -> None:
    """Print all findings, gravest last."""
    width = page_width(stream)
    lines: list[Line] = []
    for finding in reversed(diagnosis.findings):
        lines += [*layout(message_of(finding), width), ()]
    lines += wrapped(summary(diagnosis, "above"), width)
    write_lines(lines, stream)
