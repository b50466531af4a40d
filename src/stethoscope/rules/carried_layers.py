"""Layers of a plain list, followed by the names that carry them: whether something surely registers or hides them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from stethoscope.facts.code import At, Code
from stethoscope.facts.origins import lineage
from stethoscope.facts.things import Thing

_TRIPLE = re.compile(r"\"\"\"|'''")
TEXT = re.compile(r"[fr]?\"[^\"]*\"|[fr]?'[^']*'")
"""A text on one line."""
_NAMES = re.compile(r"[A-Za-z_]\w*")
_GIVEN_BY_CLASS = re.compile(r"(?<!\w)_modules\b|def parameters|def named_param")
"""Where a class gives or registers layers in its own way, whatever it holds them in."""
REGISTERING = re.compile(
    r"add_module|register_module|setattr\((?!.*,\s*(?:torch\.)?nn\.[A-Z]\w*\()|__setattr__"
    r"|(?<!\w)_modules\b|def parameters|def named_param|\bexec\("
)
"""What registers layers in another way, or gives them to whoever asks for parameters."""
_REGISTERING = re.compile(r"add_module\(|register_module\(|setattr(?:__)?\(|(?:Sequential|ModuleList|ModuleDict)\(")
_LOOP_OPENS = re.compile(
    r"\bfor\b[^:=]*\bin\s+(?:(?:enumerate|tqdm|reversed|list)\()*(?:zip|enumerate|reversed)\([^()]*$"
)
_OVER = re.compile(r"\bfor (.+?) in ([^:]*)")
_GOING_OVER = re.compile(r"\b(?:enumerate|zip|len|range|reversed|isinstance|print)\(")
_MAPPED = re.compile(r"\bmap\(\s*lambda\s+(\w+)\s*:\s*(.*?\b\1\(.*?),\s*(self\.\w+)\s*\)")
"""Each layer of a list called by `map`: its variable, what is given, and the list."""
_ASKING = r"(?:\[[^\]]*\])*\.(?:named_parameters|parameters|load_state_dict|state_dict|eval|requires_grad_)\("
TAKEN_OUTSIDE = re.compile(
    r"parameters\(|optim|(?:Sequential|ModuleList|ModuleDict)\(|add_module|state_dict|requires_grad"
)
_QUIET = re.compile(r"\b(?:no_grad|inference_mode)\b")
_SWITCHED = re.compile(r"\bset_grad_enabled\(\s*(?:mode\s*=\s*)?False\b")
_CHOOSES = re.compile(r"^\s*(\w+)\s*=(?!=)")
"""A line that only chooses what is entered later: `context = torch.no_grad if frozen else nullcontext`."""
LINES_OF_A_CALL = 12
"""Lines in which the arguments of a call stand, as far as they are looked at: `self.add_module(`, a name, a layer."""
LINES_AFTER = 3
"""Lines behind one that takes layers from outside, in which what is done with them stands."""


def code_lines(file: Code, at: At | None = None) -> tuple[str, ...]:
    """The lines of a file or a stretch without comments and without texts in three quotes, which say what they like."""
    lines = file.lines if at is None else file.lines[at.line - 1 : at.end_line]
    kept, quote = list[str](), ""
    for line in lines:
        told, rest = "", line
        while rest:
            if quote:
                _, closing, rest = rest.partition(quote)
                quote = "" if closing else quote
                continue
            opening = _TRIPLE.search(rest.partition("#")[0])
            if opening is None:
                told, rest = told + rest, ""
            else:
                told, quote, rest = told + rest[: opening.start()] + '""', opening.group(), rest[opening.end() :]
        kept.append(told.partition("#")[0])
    return tuple(kept)


def is_surely_looked_after(file: Code, thing: Thing, name: str, besides: Collection[int] = ()) -> bool:
    """Whether the layers of a list are registered, trained or frozen by its name or by one that carries it; `besides`
    are lines of the class, counted from its first, that do not count.
    """
    cls = thing.cls
    if cls is None:
        return True
    lines = ["" if number in besides else line for number, line in enumerate(code_lines(file, cls.at))]
    carried = carried_by(lines, name)
    return (
        any(_GIVEN_BY_CLASS.search(line) for line in lines)
        or _is_registered_by_name(lines, name, carried)
        or _is_taken(lines, name, carried)
        or _runs_quietly(file, thing, lines, carried)
        or _is_taken_outside(file, thing, name)
    )


def is_taken_or_registered(lines: Sequence[str], name: str) -> bool:
    """Whether lines, as those of a class above, register the layers of a list of theirs, or look after them."""
    carried = carried_by(lines, name)
    return _is_registered_by_name(lines, name, carried) or _is_taken(lines, name, carried)


def are_called(file: Code, thing: Thing, name: str) -> bool:
    """Whether a method of a class calls what its list holds: `layer(x)` in a loop over it, `self.layers[0](x)`."""
    for number in thing.cls.methods.values() if thing.cls is not None else ():
        lines = code_lines(file, file.functions[number].at)
        called = re.compile(rf"{carried_by(lines, name)}(?:\[[^\]]*\])*(?:\.forward)?\(")
        if any(called.search(line) for line in lines):
            return True
    return False


def carried_by(lines: Sequence[str], name: str) -> str:
    """What names the list or one of its layers: variables that go over it, are taken from it or are put into it."""
    said = rf"\bself\.{re.escape(name)}\b"
    over = re.compile(rf"\bfor (.+?) in ([^:]*{said}[^:]*)")
    # Not what a layer gives, nor their number: `x = self.layers[0](x)`, `n = len(self.layers)`.
    out_of = re.compile(rf"^\s*([A-Za-z_][\w\s,]*?)\s*=(?!=)(?!.*\blen\().*{said}(?!(?:\[[^\]]*\])*[\w.]*\()")
    into = re.compile(rf"{said}(?:\[[^\]]*\])*(?:\.(?:append|extend)\(|\s*=\s*(?:list\()?)\s*\[?(\w+)\s*\]?\)*\s*$")
    handed = re.compile(rf"^(?!.*\bzip\().*,\s*{said}\s*[,)]")  # `x = bank(x, self.layers)` is an answer
    names = {
        word
        for line in lines
        for pattern in (out_of, into)
        for found in pattern.finditer(line)
        if pattern is into or not (_are_answers(line, over) or handed.search(line))
        for word in _NAMES.findall(found.group(1))
    }
    names |= {one.group(1) for line in lines for one in _MAPPED.finditer(line) if one.group(3) == f"self.{name}"}
    heads = (found for text in (*lines, *_long_heads(lines)) for found in over.finditer(text))
    going = {word for found in heads for word in _beside(found, re.compile(said))}
    for word in sorted(_holding_list(lines, said)):
        again = re.compile(rf"(?<![\w.]){word}\b")
        heads = (found for line in lines for found in _OVER.finditer(line) if again.search(found.group(2)))
        going |= {one for found in heads for one in _beside(found, again)}
    for word in going:
        apart = re.compile(rf"^\s*([A-Za-z_]\w*(?:\s*,\s*\w+)+)\s*=\s*{word}\s*$")  # `conv, norm = pair`
        names |= {one for line in lines for found in apart.finditer(line) for one in _NAMES.findall(found.group(1))}
    names |= going
    variables = "".join(rf"|(?<![\w.]){word}\b" for word in sorted(names - {"self", "i", "_", "None", "True", "False"}))
    return rf"(?:{said}{variables})"


def _holding_list(lines: Sequence[str], said: str) -> set[str]:
    """Variables that hold the list, or some of it: `layers = self.layers`, `layers = dropped(self.layers, rate)`."""
    held = re.compile(rf"^\s*([A-Za-z_]\w*)\s*=\s*(?:[\w.]+\(\s*)?{said}\s*(?:,[^()]*)?\)?\s*$")
    return {found.group(1) for line in lines if (found := held.search(line))}


def _are_answers(line: str, over: re.Pattern[str]) -> bool:
    """Whether a line keeps what layers give, and not them: `outs = [layer(x) for layer in self.layers]`."""
    loop = over.search(line)
    words = _NAMES.findall(loop.group(1)) if loop is not None else []
    return loop is not None and any(re.search(rf"(?<![\w.]){word}\(", line[: loop.start()]) for word in words)


def _long_heads(lines: Sequence[str]) -> Iterator[str]:
    """The heads of loops that go on in the next lines: `for layer, width in zip(`, and what stands in the brackets."""
    for number, line in enumerate(lines):
        loop = _LOOP_OPENS.search(line)
        if loop is not None:
            yield f"{line[loop.start() :]}{_arguments(lines, number, loop.end())}"


def _beside(loop: re.Match[str], said: re.Pattern[str]) -> list[str]:
    """The variables of a loop that may hold what stands in a list: of `for a, b in zip(self.a, self.b)` the one at its
    place.
    """
    words, source = _NAMES.findall(loop.group(1)), loop.group(2)
    zipped = re.search(r"\bzip\(", source)
    sources = _apart(source[zipped.end() :]) if zipped else []
    if 1 < len(sources) <= len(words):
        return [word for word, one in zip(words[-len(sources) :], sources, strict=True) if said.search(one)]
    is_counted = len(words) > 1 and re.match(r"\s*enumerate\(", source)
    return words[1:] if is_counted else words


def _apart(text: str) -> list[str]:
    """The arguments of a call, of the text behind its opening bracket; none where it does not close."""
    found, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0:
            return [one for one in found if one.strip()]
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    return []


def _is_registered_by_name(lines: Sequence[str], name: str, carried: str) -> bool:
    """Whether what registers layers is given one of these: `self.add_module(f"layer{i}", layer)`. What the list itself
    gets is not registered by that: `self.layers.append(nn.ModuleList([attention, mlp]))`.
    """
    given = re.compile(carried)
    put = re.compile(rf"\bself\.{re.escape(name)}\.(?:append|extend)\(\s*[\w.]*$")
    return any(
        given.search(_without_counting(_arguments(lines, number, call.end()), name))
        for number, line in enumerate(lines)
        for call in _REGISTERING.finditer(line)
        if not put.search(f"{lines[number - 1] if number else ''} {line[: call.start()]}")
    )


def _without_counting(text: str, name: str) -> str:
    """Arguments without loops that only count a list: of `[nn.GELU() for _ in self.layers]` nothing is one of these."""
    counted = re.sub(rf"\bfor _ in self\.{re.escape(name)}\b(?![\w.\[(])", "", text)
    return text if re.search(r"(?<!\w)_(?!\w)", counted) else counted


def _arguments(lines: Sequence[str], number: int, start: int) -> str:
    """The text from behind an opening bracket to the one that closes it, as far as it is looked at."""
    depth, text = 1, lines[number][start:]
    for line in lines[number + 1 : number + LINES_OF_A_CALL]:
        text += f" {line}"
    for place, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0:
            return text[:place]
    return text


def _is_taken(lines: Sequence[str], name: str, carried: str) -> bool:
    """Whether a layer is asked for its parameters or modes, its answer is cut off, or another attribute keeps it."""
    asked = re.compile(rf"{carried}{_ASKING}|{carried}(?:\[[^\]]*\])*\.(?:weight|bias)(?:\.data)?\.requires_grad\b")
    cut = re.compile(rf"{carried}.*\.detach\(|\.detach\(.*{carried}")
    own = rf"self\.(?!{re.escape(name)}\b)\w+"
    kept = re.compile(
        rf"^\s*[(\[]?{own}(?:\[[^\]]*\]|\s*,[^=]*)?\s*=\s*\(?\s*(?:(?:list|tuple|iter)\()?{carried}(?:\[[^\]]*\])*[\s)]*$"
    )
    put = re.compile(rf"{own}\.(?:append|extend|add|update)\([^()]*{carried}(?:\[[^\]]*\])*\s*\)")
    handed = re.compile(rf",\s*\*?self\.{re.escape(name)}\s*[,)]")
    if any(one.search(line) for line in lines for one in (asked, cut, kept)):
        return True
    if any(
        not _is_another(lines, number, name, one) for number, line in enumerate(lines) for one in put.finditer(line)
    ):
        return True
    return any(
        handed.search(_MAPPED.sub("", line)) and not _GOING_OVER.search(line) and not _goes_over(lines, number)
        for number, line in enumerate(lines)
    )


def _is_another(lines: Sequence[str], number: int, name: str, put: re.Match[str]) -> bool:
    """Whether a variable holds another layer where it is put elsewhere than where it is put into the list."""
    word = put.group(0).rpartition("(")[2].strip(" )")
    into = re.compile(rf"\bself\.{re.escape(name)}\.append\(\s*{re.escape(word)}\s*\)")
    if not word.isidentifier():
        return False
    ways = [_bound_at(lines, one, word) for one, line in enumerate(lines) if into.search(line)]
    here = _bound_at(lines, number, word)
    return here is not None and bool(ways) and here not in ways and None not in ways


def _bound_at(lines: Sequence[str], number: int, word: str) -> int | None:
    """The nearest line above one that sets a variable by an assignment."""
    sets = re.compile(rf"^\s*{word}\s*=(?!=)")
    return next((one for one in range(number - 1, -1, -1) if sets.search(lines[one])), None)


def is_handed_alone(lines: Sequence[str], name: str) -> bool:
    """Whether a list stands alone on a line between the brackets of anything but what a loop goes over."""
    alone = re.compile(rf"^\s*\*?self\.{re.escape(name)}\s*,?[\s)]*$")
    return any(alone.search(line) and not _goes_over(lines, number) for number, line in enumerate(lines))


def _goes_over(lines: Sequence[str], number: int) -> bool:
    """Whether a line stands between the brackets of a `zip` that a line above opens."""
    text = " ".join(lines[max(0, number - LINES_OF_A_CALL) : number])
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += (text[place] in ")]}") - (text[place] in "([{")
        if depth < 0:
            return re.search(r"\b(?:zip|enumerate|reversed|len)$", text[:place]) is not None
    return False


def _runs_quietly(file: Code, thing: Thing, lines: Sequence[str], carried: str) -> bool:
    """Whether `forward`, or all blocks of the class that call the layers, run without gradients."""
    cls = thing.cls
    if cls is None:
        return False
    if "forward" in cls.methods:
        function = file.functions[cls.methods["forward"]]
        if any(_QUIET.search(file.text(one.at)) for one in function.decorators):
            return True
    called = re.compile(rf"{carried}(?:\[[^\]]*\])*\(|\(\*{carried}")
    calls = [number for number, line in enumerate(lines) if called.search(line)]
    openings = [number for number, line in enumerate(lines) if _SWITCHED.search(line) or _opens_quiet(lines, line)]
    quiet = {inner for number in openings for inner in block(lines, number)}
    return bool(calls) and quiet.issuperset(calls)


def _opens_quiet(lines: Sequence[str], line: str) -> bool:
    """Whether a line switches gradients off: not one that only keeps the context under a name, but what enters that."""
    if _QUIET.search(line):
        return _CHOOSES.search(line) is None
    entered = re.match(r"\s*(?:with|@)\s*(\w+)\b", line)
    if entered is None:
        return False
    chosen = (_CHOOSES.search(one) for one in lines if _QUIET.search(one))
    return any(one is not None and one.group(1) == entered.group(1) for one in chosen)


def block(lines: Sequence[str], number: int) -> Iterator[int]:
    """Numbers of the lines under a line; of a decorator, those of its function; of one that opens nothing, those that
    follow it in its block.
    """
    edge = len(lines[number]) - len(lines[number].lstrip())
    is_decorator = lines[number].lstrip().startswith("@")
    first = number
    while is_decorator and first + 1 < len(lines) and not lines[first].rstrip().endswith(":"):
        first += 1
    is_header = lines[first].rstrip().endswith(":")
    for inner in range(first + 1, len(lines)):
        line = lines[inner]
        indent = len(line) - len(line.lstrip())
        if line.strip() and (indent < edge or (is_header and indent == edge)):
            return
        yield inner


def _is_taken_outside(file: Code, thing: Thing, name: str) -> bool:
    """Whether a line outside of the class gives its list to an optimizer or a container, or goes over it for that."""
    cls = thing.cls
    if cls is None:
        return False
    heirs = [
        other.at for number, other in enumerate(file.classes)
        if other is not cls and any(one is cls for _, one in lineage(Thing("class", other.name, file, number)))
    ]  # fmt: skip
    said = re.compile(rf"\.{re.escape(name)}\b(?!\.\w+\()")  # `.layers.parameters()` is asked of no list
    own = re.compile(rf"\bself\.{re.escape(name)}\b")
    anew = re.compile(rf"^\s*self\.{re.escape(name)}\s*(?::[^=]*)?=(?!=)(?!.*\.{re.escape(name)}\b)")
    over = re.compile(rf"\bfor (.+?) in [^:]*\.{re.escape(name)}\b")
    lines = [TEXT.sub('""', line) for line in code_lines(file)]
    for number, line in enumerate(lines, 1):
        if cls.at.line <= number <= cls.at.end_line or not said.search(line):
            continue
        is_heir = any(at.line <= number <= at.end_line for at in heirs)
        if own.search(line) and not is_heir:
            continue  # another class has one of that name
        if anew.search(line):
            continue  # an heir has a list of its own in its place
        if TAKEN_OUTSIDE.search(line):
            return True
        going = over.search(line)
        words = _NAMES.findall(going.group(1)) if going else []
        asked = [re.compile(rf"(?<![\w.]){word}{_ASKING}") for word in words]
        if any(one.search(later) for later in lines[number : number + LINES_AFTER] for one in asked):
            return True
    return False
