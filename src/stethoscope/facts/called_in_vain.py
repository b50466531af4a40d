"""Functions of a program that are called only where that ends with an error, or where nothing comes to.

def validate():             takes nothing
    for x in held_out: ...

validate(held_out)          the only call: no line of the function is run
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from stethoscope.facts.code import NOWHERE, At, Code
from stethoscope.facts.elsewhere import is_imported
from stethoscope.facts.origins import call_sites
from stethoscope.facts.uses import times_said


def called_in_vain(code: Code, dead: Container[At], behind: Sequence[At]) -> Iterator[At]:
    """The lines of these functions, where nobody else can call them.

    Args:
        code: the file.
        dead: the calls that end with an error.
        behind: the stretches that nothing comes to; each begins with the line that fails, which may be such a call.
    """
    found = list[At]()
    # A loop may stand there because its first round ends with an error: that one is run.
    unrun = [at for at in behind if not code.lines[at.line - 1].lstrip().startswith(("for ", "while ", "async "))]
    for number, function in enumerate(code.functions):
        is_plain = number > 0 and function.owner == NOWHERE and not function.decorators
        if not is_plain or code.function_at(code.contexts[function.context].parent) != 0:
            continue
        sites = call_sites(code, number)
        if not sites or times_said(code, function.name) != 1 + len(sites):
            continue
        if all(one.at in dead or any(at.line < one.at.line <= at.end_line for at in unrun) for one in sites):
            found.append(function.at)
    if found and (code.cells or not is_imported(code)):
        yield from found
