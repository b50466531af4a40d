"""Reads what a finding needs off the user's own lines: places, and the names that they gave things."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stethoscope.core.finding import Place
from stethoscope.facts.code import Site


def place_at(
    site: Site | None,
    *,
    steps: tuple[int, int] | None = None,
    module: str | None = None,
    parameter: str | None = None,
) -> Place:
    """The place of a finding at a line of the user's, when the line is known."""
    if site is None:
        return Place(steps=steps, module=module, parameter=parameter)
    return Place(
        file=site.file,
        line=site.line or None,
        text=site.text or None,
        steps=steps,
        module=module,
        parameter=parameter,
    )


def receiver(site: Site | None, method: str, default: str) -> str:
    """What `method` was called on in this line (`opt` in `opt.step()`), or the default.

    Only a plain dotted name counts: anything longer would not read well in a sentence.
    """
    match = re.search(rf"([A-Za-z_][\w.]*)\.{method}\(", site.text) if site else None
    return match[1] if match else default


def at(site: Site | None, *, otherwise: str = "a line that was not seen") -> str:
    """`file:line`, or words for an unknown line."""
    return str(site) if site else otherwise


def one_spelling(column: str, spellings: Mapping[str, str]) -> str:
    """The line of pandas that brings spellings to those that they stand for, as code in a fix."""
    if all(one.strip().lower() == other.strip().lower() for one, other in spellings.items()):
        return code(f"frame[{column!r}] = frame[{column!r}].str.strip().str.lower()")
    known = ", ".join(f"{one!r}: {other!r}" for one, other in list(spellings.items())[:MOST_SPELLINGS])
    more = ", ..." if len(spellings) > MOST_SPELLINGS else ""
    return code(f"frame[{column!r}] = frame[{column!r}].replace({{{known}{more}}})")


MOST_SPELLINGS = 3
"""That are written out in a fix."""


def code(*lines: str) -> str:
    """Lines as code in a fix."""
    return "\n".join(f"    {line}" for line in lines)
