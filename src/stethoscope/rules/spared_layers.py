"""Layers in a plain list that nobody misses: their weights are fixed, written or trained in another way than by
`parameters()`, or something around their class registers them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from stethoscope.facts.code import NOWHERE, Call, Class, Code, Name
from stethoscope.facts.module_classes import assigned, has_weights
from stethoscope.facts.origins import bases, lineage, thing_of
from stethoscope.facts.things import Thing
from stethoscope.rules.carried_layers import REGISTERING, carried_by, code_lines, is_taken_or_registered

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_FIXED = frozenset({"random", "rand", "reservoir", "reservoirs", "frozen", "untrained", "elm", "lsh"})
_FIXED_LISTS = _FIXED | {"fixed", "teacher", "teachers", "ema"}
_TARGETS = frozenset({"net", "nets", "network", "networks", "critic", "critics", "actor", "actors", "model", "models"})
_SOLVED = re.compile(r"\blstsq\(|\bpinv\(|\bpinverse\(|linalg\.solve\(|\bcholesky_solve\(")
"""How a readout is fitted to what layers give that stay as they were drawn."""
_TIMED = re.compile(r"\bperf_counter(?:_ns)?\(|\btime\.time\(|\bcuda\.Event\(|\btimeit\b")
"""How a class takes the time that its layers need, whatever they answer."""
_OPTIMIZER = re.compile(r"optim|Adam|SGD|RMSprop")
_TRAINS = re.compile(r"\boptim\w*\.\w+\(|\b(?:Adam\w*|SGD|RMSprop)\(|\.backward\(|\bfit\(")
"""Words of a file that trains."""
_DRAWN = re.compile(r"rand|normal|uniform|init|xavier|kaiming|orthogonal|zeros|ones|glorot")
"""How weights are drawn anew, which the layers are trained from."""
_HARMLESS = re.compile(
    r"(?:^|\.)(?:print|len|isinstance|str|repr|type|id|list|tuple|iter|next|enumerate|zip|range|reversed|append|extend"
    r"|insert|index|int|float|bool|hasattr|getattr|callable|format|max|min|sum|abs|sorted|map|filter|apply|relu|cat|stack|exists)$"
    r"|init|checkpoint|custom_forward|_norm$|summary|reset|log"
)
"""Functions that train, keep or load no layer that they are given."""
_LEARNS = r"\.(?:fit|learn|train_\w+|partial_fit|update\w*|optimi[sz]e\w*|backward|train_step|step)\("
_LOCALLY = re.compile(
    r"\.data\s*[-+]=|\.data\.(?:add|sub|copy|addcmul|lerp)_\(|\.weight\s*[-+]=|\.weight\.(?:add|sub|copy)_\("
)
_STARTING = re.compile(r"init|reset|load")
_QUIET = re.compile(r"\b(?:no_grad|inference_mode)\b")
_IN_STEPS = re.compile(
    r"\s*(?:\.cpu\(\))?\.(?:argmax|argmin|item|tolist|numpy|sign|detach|round|long|int|numel|size|dim)\(|\s*\.(?:shape|ndim)\b|\s*[<>]=?\s|.*\)\.item\(\)"
)
"""What passes no gradient back, behind a call."""
_FREEZES = re.compile(r"\.requires_grad\s*=\s*False|\brequires_grad_\(\s*(?:requires_grad\s*=\s*)?False")
_OF_PARAMETERS = re.compile(r"\bin (self(?:\.\w+)?)\.(?:named_)?parameters\(")
_FROZEN_PART = re.compile(r"\b(self(?:\.\w+)?)(?:\.eval\(\))?\.requires_grad_\(")
LINES_OF_A_LOOP = 3
"""Lines behind the head of a loop over parameters in which they are frozen."""
PATCHED = re.compile(r"\bModule\.__(?:setattr|init|call)__\s*=(?!=)")
_FINISHES = re.compile(rf"{REGISTERING.pattern}|\bsetattr\(|ModuleList")
_OF_OTHERS = re.compile(r"\bsetattr\(\s*(?!self\b)\w+(?:\.\w+)+\s*,|=\s*(?!self\b)\w+\._modules\s*$")
"""What a class above does to a part of another object, or reads of a module: `setattr(self.config, name, value)`."""
_REGISTRAR = re.compile(r"Regist|List|Contain|Collect|Track")
_NEVER_TRAINS = re.compile(r"^\s*torch\.(?:autograd\.)?set_grad_enabled\(\s*False\s*\)")
COLLECTED = re.compile(r"\b(?:vars|dir)\((?!\s*self\b)\w|(?<!\bself)\.__dict__\.(?:values|items)\(")
"""How somebody goes over whatever an object holds, in lists and otherwise."""
_SAYS_SO = re.compile(r"\bplain (?:python )?lists?\b|not (?:be )?(?:regist|track|seen by)|un-?registered", re.I)
"""What a text on a class says of layers that it hides knowingly."""
_ASKED = r"(?:named_parameters|parameters|state_dict|children|named_children|modules)\("
_COUNTS = re.compile(r"\b(?:print|assert|len|sum|list|sorted)\b")


def are_spared(file: Code, thing: Thing, name: str, layers: Sequence[Call]) -> bool:
    """Whether something shows that layers of a list are not to be trained, or are trained or registered after all."""
    cls = thing.cls
    if cls is None:
        return True
    lines = code_lines(file, cls.at)
    carried = carried_by(lines, name)
    return (
        _are_written(lines, carried)
        or _answer_in_steps(lines, carried)
        or _are_handed(lines, name, carried)
        or _are_handed_outside(file, cls, name)
        or are_called_fixed(cls.name, name)
        or any(_SOLVED.search(line) or _TIMED.search(line) for line in lines)
        or _only_takes_time(file)
        or _trains_other_parts(file, cls, name)
        or _is_finished_elsewhere(file, thing, name)
        or never_trains(file)
        or _is_shown_beside(file, cls, name)
        or any(COLLECTED.search(line) for line in _outside(file, cls))
        or all(_need_no_owner(file, layer) or _wraps_a_part(file, layer) for layer in layers)
    )


def _only_takes_time(file: Code) -> bool:
    """Whether a file takes the time that its layers need, and trains nothing."""
    text = code_lines(file)
    return any(_TIMED.search(line) for line in text) and not any(_TRAINS.search(line) for line in text)


def _are_written(lines: Sequence[str], carried: str) -> bool:
    """Whether a class writes or takes away the weights of its layers, or gives these or them to whoever asks."""
    weights = rf"{carried}(?:\[[^\]]*\])*\.(?:weight|bias|kernel)(?:\.data)?"
    gone = re.compile(rf"\bdel\s+{weights}")
    set_to = re.compile(rf"{weights}(?:\[[^\]]*\])*\s*([-+]?=)(?!=)(.*)|{weights}\.(?:copy|add|sub|set)_\((.*)")
    kept = re.compile(
        rf"(?:\.(?:append|extend|add)\(|Parameter(?:List)?\(|=\s*[\[(]|\byield\s)[\[(\s]*{weights}\s*(?:[,\])]|$)"
    )
    given = re.compile(
        rf"\b(?:return|yield)\s+\(?{carried}(?:\[[^\]]*\])*\)?\s*$|\bsetattr\(\s*{carried}\b"
        rf"|{carried}(?:\[[^\]]*\])*\._parameters\b"
    )
    return any(
        gone.search(line) or kept.search(line) or given.search(line) or any(map(_is_set, set_to.finditer(line)))
        for line in lines
    )


def _is_set(found: re.Match[str]) -> bool:
    """Whether weights are changed, or get other numbers than new random ones."""
    sign, value, copied = found.groups()
    return sign in ("+=", "-=") or not _DRAWN.search(value or copied or "")


def _answer_in_steps(lines: Sequence[str], carried: str) -> bool:
    """Whether whatever the layers give is cut off from them where they are called: signs, classes, plain numbers."""
    called = re.compile(rf"{carried}(?:\[[^\]]*\])*\(")
    behind = [_behind(line[found.end() :]) for line in lines for found in called.finditer(line)]
    return bool(behind) and all(_IN_STEPS.match(rest) for rest in behind)


def _behind(text: str) -> str:
    """What stands behind the bracket that closes a call, of the text behind the one that opens it."""
    depth = 1
    for place, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0:
            return text[place + 1 :]
    return ""


def _are_handed(lines: Sequence[str], name: str, carried: str) -> bool:
    """Whether layers are given, one by one, to a function that may train or keep them, or learn by a method."""
    numbers = set(re.findall(r"\bfor\s+(\w+)\s+in\s+range\(", "\n".join(lines)))
    numbers |= set(re.findall(r"\bfor\s+\(?(\w+)\s*,.*?\bin\s+(?:enumerate\(|[^:]*\.items\()", "\n".join(lines)))
    one = rf"(?:{carried})(?:\[[^\]]*\])*"
    given = re.compile(rf"(?<![\w.])([A-Za-z_][\w.]*)\(\s*(?P<layer>{one})\s*[,)]")
    learns = re.compile(one + _LEARNS)
    listed = re.compile(rf"^self\.{re.escape(name)}$")
    return any(
        learns.search(line)
        or any(
            not _HARMLESS.search(found.group(1))
            and found.group("layer") not in numbers
            and not listed.search(found.group("layer"))
            for found in given.finditer(line)
        )
        for line in lines
    )


def _are_handed_outside(file: Code, cls: Class, name: str) -> bool:
    """Whether the same is done to the layers of an object of the class: `for one in net.members: fit(one, loader)`."""
    lines = _outside(file, cls)
    said = re.compile(rf"(?<!\bself)\.{re.escape(name)}\b")
    near = [
        re.sub(rf"\b(?!self\.)[\w.]+\.{re.escape(name)}\b", f"self.{name}", one)
        for number, line in enumerate(lines)
        if said.search(line)
        for one in lines[number : number + 1 + LINES_OF_A_LOOP]
    ]
    return _are_handed(near, name, carried_by(near, name))


def _outside(file: Code, cls: Class) -> list[str]:
    """The lines of a file, those of a class left empty."""
    lines = list(code_lines(file))
    lines[cls.at.line - 1 : cls.at.end_line] = [""] * (cls.at.end_line - cls.at.line + 1)
    return lines


def never_trains(file: Code) -> bool:
    """Whether a file switches gradients off for good."""
    return any(_NEVER_TRAINS.search(line) for line in code_lines(file))


def are_called_fixed(owner: str, name: str) -> bool:
    """Whether the name of a class or list says that the weights stay: `Reservoir`, `self.frozen_filters`."""
    of_class = {word.lower() for word in _WORDS.findall(owner)}
    of_list = [word.lower() for word in _WORDS.findall(name)]
    is_target = of_list[:1] == ["target"] and bool(_TARGETS & set(of_list))
    return bool(_FIXED & of_class) or bool(_FIXED_LISTS & set(of_list)) or is_target


def _trains_other_parts(file: Code, cls: Class, name: str) -> bool:
    """Whether the only optimizers that are seen get other parts of the module: `SGD(net.readout.parameters())`."""
    inside, every = code_lines(file, cls.at), code_lines(file)
    made = re.compile(rf"^\s*(\w+)\s*=\s*{re.escape(cls.name)}\(")
    owners = {found.group(1) for line in every if (found := made.search(line))}
    for owner, lines in (("self", inside), *((one, every) for one in sorted(owners))):
        part = re.compile(rf"\b{owner}\.(?!{re.escape(name)}\b)\w+\.parameters\(")
        whole = re.compile(rf"\b{owner}\.(?:named_)?parameters\(")
        is_part = any(part.search(line) and _OPTIMIZER.search(line) for line in lines)
        if is_part and not any(whole.search(line) for line in lines):
            return True
    return False


def _is_shown_beside(file: Code, cls: Class, name: str) -> bool:
    """Whether a text says so of itself, or shows what a list does: an object of the class is only asked for its
    parameters, beside another class that registers what its attribute of that name holds.
    """
    if _SAYS_SO.search("\n".join(file.lines[cls.at.line - 1 : cls.at.end_line])):
        return True
    lines = _outside(file, cls)
    registered = re.compile(rf"\bself\.{re.escape(name)}\s*=\s*(?:torch\.)?(?:nn\.)?Module(?:List|Dict)\(")
    if not any(registered.search(line) for line in lines):
        return False
    made = re.compile(rf"^\s*(\w+)\s*=\s*{re.escape(cls.name)}\(")
    owners = {found.group(1) for line in lines if (found := made.search(line))}
    asked = [line for line in lines if any(re.search(rf"\b{one}\.{_ASKED}", line) for one in owners)]
    return bool(asked) and all(_COUNTS.search(line) and not _OPTIMIZER.search(line) for line in asked)


def _is_finished_elsewhere(file: Code, thing: Thing, name: str) -> bool:
    """Whether a class above, a decorator, or a change of `nn.Module` itself registers what the class holds, or a class
    that is not seen is called so.
    """
    if any(_REGISTRAR.search(one.rpartition(".")[2]) for one in bases(thing) if not one.startswith("torch.")):
        return True
    own, *above = ((home, cls, code_lines(home, cls.at)) for home, cls in lineage(thing))
    every = [*own[2], *(line for *_, lines in above for line in lines)]
    for home, cls, lines in above:
        if is_taken_or_registered(lines, name):
            return True
        for method, number in cls.methods.items():
            # A setter keeps what it is given: of its own accord it goes over no list.
            callers = own[2] if method.startswith("set_") else every
            runs = method == "__init__" or any(re.search(rf"(?<!\bdef )\b{method}\(", line) for line in callers)
            inside = code_lines(home, home.functions[number].at) if runs else ()
            if any(_FINISHES.search(_OF_OTHERS.sub("", line)) for line in inside):
                return True
    return any(PATCHED.search(line) for line in code_lines(file)) or any(
        _FINISHES.search(line) for line in _decorating(file, thing)
    )


def _decorating(file: Code, thing: Thing) -> Iterator[str]:
    """The lines of a function of the file with which a class is decorated."""
    cls = thing.cls
    marks = re.findall(r"^\s*@(\w+)\b", file.lines[cls.at.line - 2]) if cls is not None and cls.at.line > 1 else []
    for function in file.functions[1:]:
        if function.name in marks:
            yield from code_lines(file, function.at)


def _need_no_owner(file: Code, layer: Call) -> bool:
    """Whether the class of a layer freezes it, cuts off its answers, or trains it by itself, as agents do."""
    return any(
        _trains_itself(home, cls) or _is_frozen(home, cls, layer, file) or answers_without_gradients(home, cls)
        for home, cls in lineage(thing_of(file, layer))
    )


def _wraps_a_part(file: Code, layer: Call) -> bool:
    """Whether a layer of no library is given one that the object holds already, in a part of its own: `Decoder(layer)`
    for each `layer` of `self.model.layers`. Its weights are those of the part.
    """
    given = (file.bindings[one.binding] for one in layer.arguments if isinstance(one, Name) and one.binding != NOWHERE)
    over = (one.value for one in given if one.how == "for" and one.value is not None)
    return not layer.name.startswith("torch.") and any(_PARTS.search(file.text(one.at)) for one in over)


_PARTS = re.compile(
    r"\bself(?:\.\w+)+\.\w*(?:layer|block|module|stage|expert|head|conv)s\b|\.(?:named_)?(?:children|modules)\("
)
"""What is gone over where the layers of a network are."""


def _trains_itself(home: Code, cls: Class) -> bool:
    """Whether a class makes an optimizer, or its methods write its own weights, as rules of local learning do."""
    for name, number in cls.methods.items():
        function = home.functions[number]
        if any(thing_of(home, call).kind == "optimizer" for call in home.calls[slice(*function.calls)]):
            return True
        if not _STARTING.search(name) and any(_LOCALLY.search(line) for line in code_lines(home, function.at)):
            return True
    return False


def _is_frozen(home: Code, cls: Class, layer: Call, file: Code) -> bool:
    """Whether a class switches the gradients of all its parameters off, or of all parts that surely have some."""
    lines = code_lines(home, cls.at)
    parts = {
        found.group(1)
        for number, line in enumerate(lines)
        for found in (_OF_PARAMETERS.search(line), _FROZEN_PART.search(line))
        if found and any(_FREEZES.search(one) for one in lines[number : number + 1 + LINES_OF_A_LOOP])
    }
    if not parts or "self" in parts:
        return bool(parts)
    thing = thing_of(file, layer)
    weighty = {f"self.{name}" for name, one in assigned(home, thing) if has_weights(thing_of(home, one.value))}
    return weighty <= parts


def answers_without_gradients(home: Code, cls: Class) -> bool:
    """Whether the forward pass of a class is cut off from the graph."""
    if "forward" not in cls.methods:
        return False
    function = home.functions[cls.methods["forward"]]
    if any(_QUIET.search(home.text(one.at)) for one in function.decorators):
        return True
    return any(re.search(r"\breturn\b.*\.detach\(\)\s*$", line) for line in code_lines(home, function.at))
