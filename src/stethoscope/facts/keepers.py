"""Who asks a class to keep the weights of a model: whether the same model is trained on behind that.

for trial in range(5):
    model = make()              another model in each round, so that what was kept stays as it was
    train(model)
    best.keep(score(model), model)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import accumulate

from stethoscope.facts.code import NOWHERE, Call, Class, Code, Function, Name

_LOOP = re.compile(r"\s*(?:for|while)\b")
_OTHERWISE = re.compile(r"\s*(?:else|elif)\b")
_DEFINES = re.compile(r"\s*(?:(?:async\s+)?def|class)\b")
_LONG_STRINGS = re.compile(r"\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''")
_EACH_EPOCH = re.compile(r"patience|epoch|stop|\bon_\w+\(|__call__|callback|\bstep\w*\(", re.I)
"""Words of a class that is asked again and again while one model trains."""
MOST_LINES = 30
"""Of a call."""


class Keeping(Enum):
    """What is seen of those who hand over the model."""

    TRAINED_ON = "one of them may train the same model on, or the class has the model by itself"
    ANEW = "each of them hands over another model each time"
    EPOCHS = "nobody, but the class speaks of epochs"
    NOBODY = "nobody"


def keeping_of(file: Code, call: Call) -> Keeping:
    """Who hands over the model whose state a method of a class keeps."""
    index = file.function_at(call.context)
    function, owner = file.functions[index], call.receiver
    if function.owner == NOWHERE or not isinstance(owner, Name) or owner.binding == NOWHERE:
        return Keeping.TRAINED_ON
    places = [place for place, one in enumerate(function.parameters) if one.binding == owner.binding]
    if not places:
        return Keeping.TRAINED_ON
    cls = file.classes[function.owner]
    texts = (file.uncommented(), file.linked.anywhere(cls.name) or "")
    found = [is_anew for text in texts for is_anew in _asked(text.split("\n"), cls, function, places[0] - 1)]
    if found:
        return Keeping.ANEW if all(found) else Keeping.TRAINED_ON
    own = "\n".join(file.lines[cls.at.line - 1 : cls.at.end_line])
    return Keeping.EPOCHS if _EACH_EPOCH.search(_LONG_STRINGS.sub("", own)) else Keeping.NOBODY


def _asked(lines: Sequence[str], cls: Class, function: Function, place: int) -> Iterator[bool]:
    """Of each call of the method in a text, whether another model is handed over each time."""
    makes = re.compile(rf"(?<![\w.])([\w.]+)\s*(?::[^=]*)?=\s*(?:\w+\.)*{re.escape(cls.name)}\s*\(")
    keepers = {found[1] for line in lines for found in makes.finditer(line)}
    method = "" if function.name == "__call__" else f".{function.name}"
    for keeper in sorted(keepers):
        asks = re.compile(rf"(?<![\w.]){re.escape(keeper + method)}\s*\(")
        for number, line in enumerate(lines):
            found = asks.search(line)
            if found is None or _DEFINES.match(line):
                continue
            model = _given(
                "\n".join([line[found.start() :], *lines[number + 1 : number + MOST_LINES]]), function, place
            )
            yield _is_another(lines, number, model, rf"(?<![\w.]){re.escape(keeper)}\s*=")


def _given(text: str, function: Function, place: int) -> str:
    """What a call gives for the model, where it is a name."""
    name = function.parameters[place + 1].name
    depths = accumulate((letter in "([{") - (letter in ")]}") for letter in text)
    end = next((at for at, one in enumerate(depths) if not one and text[at] == ")"), len(text))
    try:
        call = ast.parse(text[: end + 1], mode="eval").body
    except (SyntaxError, ValueError):
        return ""
    if not isinstance(call, ast.Call):
        return ""
    given = (
        call.args[place] if place < len(call.args) else next((k.value for k in call.keywords if k.arg == name), None)
    )
    return given.id if isinstance(given, ast.Name) else ""


def _is_another(lines: Sequence[str], number: int, model: str, makes: str) -> bool:
    """Whether a model is made in the same round of the loop around a line; or no loop stands around it, and what keeps
    the weights is made in the same function.
    """
    depth = _depth(lines[number])
    binds = re.compile(rf"\s*{re.escape(model)}\s*=(?!=)(?!.*\b{re.escape(model)}\b).*\(") if model else None
    above = list[str]()
    for line in reversed(lines[:number]):
        if not line.strip() or _depth(line) >= depth:
            above.append(line)
            continue
        if _DEFINES.match(line):
            break
        if _LOOP.match(line):
            bound = [_depth(one) for one in above if binds is not None and binds.match(one)]
            is_chosen = len(bound) > 1 and any(_depth(one) == depth and _OTHERWISE.match(one) for one in above)
            return depth in bound or is_chosen
        depth = _depth(line)
        above.append(line)
    return any(re.search(makes, line) for line in above)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
