"""Faults that a text says are put there to be seen or found: exercises in debugging, wrong ways beside right ones.

planted = planted_in(code)
planted(line)      whether the text says so of this line, its function, or the whole file
"""

from __future__ import annotations

import re
from collections.abc import Callable

from stethoscope.facts.code import Code, Function

HEAD = 40
"""Lines at the start of a file in which it says what it is."""

_BROKEN = r"(?:bugg?y|broken|faulty|flawed)"
_EXERCISE = re.compile(
    rf"\b(?:intentional|deliberate)(?:ly)?\W+(?:\w+\W+){{0,2}}(?:{_BROKEN}|bugs?|wrong|incorrect|mistakes?)\b"
    rf"|\b{_BROKEN}\s+(?:on purpose|intentionally|deliberately)|\bplanted\s+(?:bugs?|faults?|mistakes?)"
    r"|\b(?:find|spot|identify|locate)\s+(?:and\s+fix\s+)?(?:all\s+)?(?:the|these|its|\d+)\s+(?:\d+\s+)?bugs\b"
    r"|\bbug[\s-]injection|\bdebugging\s+(?:exercise|challenge|interview)",
    re.I,
)
"""What the head of a file says that is broken to be repaired by its readers."""
_MARKED = re.compile(
    r"#.*(?:\bBUG\b(?!\W*FIX)|\bWRONG\b|❌|\b(?:intentional|deliberate)ly\b|\bon purpose\b|\banti-?pattern\b"
    r"|\bpitfall\b)"
)
"""What a comment on a line, or right above it, says of a fault that is meant to stand there."""
_LISTED = re.compile(r"#\s*BUGS?\s*(?:\d+|S?\s*:)")
"""A comment that names the faults of a function: `# BUG 2: ...`, `# BUGS: ...`."""
_NAMED = re.compile(rf"(?:^|_){_BROKEN}(?:_|$)|Buggy|Broken|Faulty|Flawed")
_WRONG = re.compile(r"^(?:wrong|bad|incorrect)_|_(?:wrong|bad|incorrect)$|^(?:Wrong|Bad|Incorrect)(?=[A-Z])")
_RIGHT = re.compile(r"(?:^|_)(?:right|good|correct|fixed|ref|reference)(?:_|$)|^(?:Right|Good|Correct|Fixed)(?=[A-Z])")


def planted_in(code: Code) -> Callable[[int], bool]:
    """Whether the text says of a line that what is wrong there is meant to be."""
    if _EXERCISE.search("\n".join(code.lines[:HEAD])):
        return lambda line: True
    stretches = [one.at for one in code.functions[1:] if _is_planted(code, one.name) or _lists_faults(code, one)]
    stretches += [one.at for one in code.classes if _is_planted(code, one.name)]

    def is_planted(line: int) -> bool:
        return any(at.line <= line <= at.end_line for at in stretches) or _is_marked(code, line)

    return is_planted


def _is_planted(code: Code, name: str) -> bool:
    """Whether a name says that what it names is wrong; of some words only beside one that is said to be right:
    `wrong_answers` are looked at, `wrong_loop` and `right_loop` are compared.
    """
    if _NAMED.search(name):
        return True
    rest = _WRONG.sub("", name)
    others = [*(one.name for one in code.functions), *(one.name for one in code.classes)]
    names = {_RIGHT.sub("", one) for one in others if _RIGHT.search(one)}
    return rest != name and rest in names


def _lists_faults(code: Code, function: Function) -> bool:
    return any(_LISTED.search(line) for line in code.lines[function.at.line - 1 : function.at.end_line])


def _is_marked(code: Code, line: int) -> bool:
    said = code.lines[line - 1 : line]
    above = line - 2
    while above >= 0 and code.lines[above].lstrip().startswith("#"):
        said += (code.lines[above],)
        above -= 1
    return any(_MARKED.search(one) for one in said)
