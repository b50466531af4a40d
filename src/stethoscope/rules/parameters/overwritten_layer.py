"""A layer that is made, kept in an attribute, and replaced by the next one before anything used it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Binding, Call, Code, Context, Each, Group, Name, Starred, Value
from stethoscope.facts.expressions import names_in
from stethoscope.facts.module_classes import assigned, defines, has_weights, in_methods, modules_in
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import Thing, followed, literal
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code


class OverwrittenLayer(Rule):
    """An attribute gets a layer, and another one before the first was used: the first is lost.

    ## What it sees
    In `__init__` of a module the same attribute is given a layer with parameters twice, one after the other, or in each
    round of a loop, and nothing reads it in between.
    ## Why it hurts
    Only the last layer exists. The network is smaller than it reads: where `fc2` was meant, `fc1` has been replaced,
    and a loop that should build a stack leaves one layer.
    ## How to fix it
    Give each layer a name of its own, or collect the layers of a loop in an `nn.ModuleList`.
    ## When it is not a fault
    A default that a branch replaces, and a layer that the next one is built from: those are not reported, nor is
    anything where a method, or a function that is given the module, may have read the attribute in between. A layer of
    the same kind and sizes with other options is possible at most: who refines a constructor that was copied may
    replace the layer on purpose, and nothing is lost. So is one that a comment says to be drawn and thrown away, and
    one in a loop that collects other layers, which `forward` calls once: the last is meant, and stands too far in.
    ## Sources
    PyTorch documentation, `torch.nn.Module`: an attribute holds one submodule. In a model that exists,
    `disconnected-parameters` and the outline of `stethoscope check` show which layers there are.
    """

    severity = Severity.WARNING
    explains = ("underfitting", "no-gain-over-baseline")

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for layers that are replaced in the same block."""
        for thing in modules_in(file):
            for name, binding in assigned(file, thing):
                before = file.bindings[binding.before] if binding.before != NOWHERE else None
                if before is None and file.contexts[binding.context].kind != "for":
                    continue
                if not name.isidentifier() or not _is_made_in_init(file, thing, binding):
                    continue
                if defines(thing, name, "__setattr__"):
                    continue
                if before is not None and _is_lost(file, thing, name, before, binding):
                    how = f"the one made on {line_of(file, binding.at)} replaces it"
                    refined = _is_refined(file, before.value, binding.value) or _is_explained(file, before, binding)
                    refined = refined or not _is_asked_for(file, name)
                    fix = _untangled(file, thing, name, before, binding)
                    yield self._report(file, name, before, how, fix, Sureness.POSSIBLE if refined else Sureness.CERTAIN)
                elif _is_in_loop(file, thing, name, binding):
                    how = "each round of the loop replaces the one before"
                    behind = _stands_behind(file, thing, name, binding)
                    fix = _ONCE_BEHIND if behind else _all_kept(file, name, binding)
                    yield self._report(file, name, binding, how, fix, Sureness.POSSIBLE if behind else Sureness.CERTAIN)

    def _report(self, file: Code, name: str, lost: Binding, how: str, fix: str, sureness: Sureness) -> Finding:
        in_loop = how.startswith("each")
        return self.finding(
            fitting(f"`self.{name}` is replaced before it is used", "a layer is replaced before it is used"),
            sureness=sureness,
            place=place_in(file, lost.at),
            evidence=[
                Evidence(
                    f"uses of the layer made on {line_of(file, lost.at)} before it is replaced",
                    "0 in all rounds but the last" if in_loop else 0,
                    "1 at least",
                )
            ],
            cause=f"An attribute holds one layer, and {how}: it is neither called, trained nor saved.",
            fixes=[fix],
        )

    bad_code = {
        "the same name twice": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc1 = nn.Linear(3, 3)
                    self.fc2 = nn.Linear(3, 3)  # bad
                    self.fc2 = nn.Linear(3, 2)

                def forward(self, x):
                    return self.fc2(torch.relu(self.fc1(x)))
            """,
        "in a loop": """
            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    for _ in range(depth):
                        self.layer = nn.Linear(3, 3)  # bad

                def forward(self, x):
                    return self.layer(x)
            """,
    }
    good_code = {
        "a default that a branch replaces": """
            class Net(nn.Module):
                def __init__(self, wide):
                    super().__init__()
                    self.fc = nn.Linear(3, 3)
                    if wide:
                        self.fc = nn.Linear(3, 30)
            """,
        "built from it": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(3, 3)
                    nn.init.zeros_(self.fc.bias)
                    self.fc = nn.Sequential(self.fc, nn.Linear(3, 3))
            """,
        "used in between": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = nn.Conv2d(3, 3, 3)
                    layers = [self.conv]
                    self.conv = nn.Conv2d(3, 6, 3)
                    self.layers = nn.Sequential(*layers, self.conv)
            """,
        "either of two": """
            class Net(nn.Module):
                def __init__(self, deep):
                    super().__init__()
                    if deep:
                        self.fc = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
                    else:
                        self.fc = nn.Linear(3, 3)
            """,
        "a container that grows": """
            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    layers = []
                    for index in range(depth):
                        layers.append(nn.Linear(3, 3))
                        self.body = nn.Sequential(*layers)
            """,
        "kept under other names in a loop": """
            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    for index in range(depth):
                        self.layer = nn.Linear(3, 3)
                        self.add_module(f"layer{index}", self.layer)
            """,
        "one for each key": """
            class Net(nn.Module):
                def __init__(self, keys):
                    super().__init__()
                    self.layers = nn.ModuleDict()
                    for key in keys:
                        self.layers[key] = nn.Linear(3, 3)
            """,
        "the last of a search": """
            class Net(nn.Module):
                def __init__(self, widths):
                    super().__init__()
                    for width in widths:
                        if width > 3:
                            self.layer = nn.Linear(3, width)
                            break
            """,
        "collected by a method, or by a function": """
            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    self.layers = nn.ModuleList()
                    for _ in range(depth):
                        self.layer = nn.Linear(3, 3)
                        self.collect()
                    self.head = nn.Linear(3, 3)
                    remember(self)
                    self.head = nn.Linear(3, 2)

                def collect(self):
                    self.layers.append(self.layer)
            """,
        "with a second name": """
            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    layers = []
                    for _ in range(depth):
                        self.last = layer = nn.Linear(3, 3)
                        layers.append(layer)
                    for _ in range(depth):
                        layer = nn.Linear(3, 3)
                        layers.append(layer)
                        self.last_of_all = layer
                    self.body = nn.Sequential(*layers)
            """,
        "set by a property": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layers = nn.ModuleList()
                    self.layer = nn.Linear(3, 3)
                    self.layer = nn.Linear(3, 2)

                @property
                def layer(self):
                    return self.layers[-1]

                @layer.setter
                def layer(self, layer):
                    self.layers.append(layer)
            """,
        "a way out in between, and one round": """
            class Net(nn.Module):
                def __init__(self, widths, old):
                    super().__init__()
                    for width in [widths[0]]:
                        self.first = nn.Linear(3, width)
                    for width in widths:
                        self.layer = nn.Linear(3, width)
                        if width > 3:
                            break
                    self.head = nn.Linear(3, 3)
                    if old:
                        return
                    self.head = nn.Linear(3, 2)
            """,
    }


def _untangled(file: Code, thing: Thing, name: str, first: Binding, second: Binding) -> str:
    """What to change: a line that is there twice is needed once, and two layers where both are called."""
    if first.value is not None and second.value is not None and _plain(file, first.value) == _plain(file, second.value):
        return "Remove one of the two lines: they make the same layer."
    own = code(f"self.{name}_2 = {_maker(file, first.value) if isinstance(first.value, Call) else ''}(...)")
    said = re.compile(rf"\bself\.{re.escape(name)}\b")
    at = thing.cls.at if thing.cls is not None else first.at
    lines = file.lines[second.at.end_line : at.end_line]
    if sum(len(said.findall(line.partition("#")[0])) for line in lines) > 1:
        return "Give each layer its own name, or remove the line:\n" + own
    what = "Remove the line; or, where both layers are meant, give one a name of its own, and call it in `forward`:\n"
    return what + own


def _all_kept(file: Code, name: str, binding: Binding) -> str:
    """What to change in a loop, in which a layer is made that is the same in each round, or another one."""
    made, here = binding.value, file.contexts[binding.context]
    if not isinstance(made, Call):
        return "Make it once, without the loop."
    listed = made.argument(0)
    if made.name.endswith(".ModuleList") and isinstance(listed, Each):
        one, _ = followed(file, listed.element)
        if one is listed.element or not isinstance(one, Call):
            return "Make it once, without the loop."
        each = f"self.{name} = nn.ModuleList([{_maker(file, one)}(...) for _ in {file.text(listed.source.at)}])"
        return "Make a new layer for each place of the list, once, without the loop around it:\n" + code(each)
    inside = {number for number, one in enumerate(file.bindings) if binding.context in file.numbers_around(one.context)}
    given = [one for value in (*made.arguments, *(value for _, value in made.keywords)) for one in names_in(value)]
    all_of_them = f"self.{name} = nn.ModuleList([{_maker(file, made)}(...) for ... in {_source(file, here)}])"
    if any(one.binding in inside for one in given):
        what = "Keep all of them, one for each round, and call each in `forward`:\n"
    else:
        what = "Keep all of them, and call each in `forward`; or make one, without the loop:\n"
    return what + code(all_of_them)


def _maker(file: Code, made: Call) -> str:
    return file.text(made.at).partition("(")[0]


def _source(file: Code, loop: Context) -> str:
    return file.text(loop.value.at) if loop.value is not None else "..."


def _is_made_in_init(file: Code, thing: Thing, binding: Binding) -> bool:
    """Whether the constructor of a class makes a layer for an attribute, and gives it no other name meanwhile."""
    cls, made = thing.cls, binding.value
    if cls is None or binding.item or file.function_at(binding.context) != cls.methods.get("__init__"):
        return False
    if binding.how != "assign" or not isinstance(made, Call) or not has_weights(thing_of(file, made)):
        return False
    if any(here.kind == "try" for here in file.around(binding.context)):
        return False  # what raises before the second leaves the first
    return sum(one.value is made for one in file.bindings[slice(*_constructor(file, thing))]) == 1


def _constructor(file: Code, thing: Thing) -> tuple[int, int]:
    return file.functions[thing.cls.methods["__init__"]].bindings if thing.cls is not None else (0, 0)


def _is_lost(file: Code, thing: Thing, name: str, first: Binding, second: Binding) -> bool:
    """Whether the second of two bindings surely replaces the first, which nothing can have read."""
    if first.context != second.context or first.value is second.value or not _is_made_in_init(file, thing, first):
        return False
    if second.value is None or first.at.line >= second.at.line:
        return False
    return _says_only(file, name, 2, first.at.line, second.value.at.end_line)


def _is_refined(file: Code, first: Value | None, second: Value | None) -> bool:
    """Whether two calls make the same kind of layer in the same sizes, and the second says more, or other, options."""
    if not isinstance(first, Call) or not isinstance(second, Call) or first.name != second.name:
        return False
    sizes = [[_plain(file, one) for one in call.arguments] for call in (first, second)]
    options = [{key: _plain(file, one) for key, one in call.keywords} for call in (first, second)]
    return sizes[0] == sizes[1] and options[0] != options[1]


_MEANT = re.compile(
    r"thrown? away|discard|on purpose|intention|deliberate|\brng\b|\bseed|random (?:numbers|state|stream)|reproduc",
    re.I,
)
"""Words of comments on a layer that is drawn for its random numbers."""
_REPLACES = re.compile(r"\b(?:replac|overrid|overwrit|swap|instead of)", re.I)
"""Words of comments on a layer that is meant to stand in place of another."""
LINES_ABOVE = 4
"""Lines above a layer, at most, in which a comment or a message may speak of it."""


def _is_explained(file: Code, first: Binding, second: Binding) -> bool:
    """Whether a comment beside the two lines, or right above them, says that the first is to be lost."""
    lines = [line.partition("#")[2] for line in file.lines[max(0, first.at.line - 2) : second.at.end_line]]
    nearest = lines[-LINES_ABOVE - 1 :]
    return any(_MEANT.search(line) for line in lines) or any(_REPLACES.search(line) for line in nearest)


def _is_asked_for(file: Code, name: str) -> bool:
    """Whether anything in the file reads an attribute: a layer that is never called is missed by nobody."""
    return file.matches(re.compile(rf"\.{name}\b(?!\s*(?::[^=\n]+)?=(?!=))|['\"]{name}['\"]"))


def _plain(file: Code, value: Value) -> str:
    """The text of an expression without spaces, comments and last commas, on however many lines it stands."""
    at = value.at
    text = file.text(at)
    if at.line != at.end_line:
        last = file.lines[at.end_line - 1].encode()[: at.end_column].decode(errors="replace")
        text = "".join(line.partition("#")[0] for line in (text, *file.lines[at.line : at.end_line - 1], last))
    return re.sub(r"\s", "", text).replace(",)", ")")


def _grows(value: Value | None) -> bool:
    """Whether a container is made of a list anew, which may have grown meanwhile."""
    return (
        isinstance(value, Call)
        and any(isinstance(one, Starred | Name) for one in value.arguments)
        and (value.name.rpartition(".")[2] in ("Sequential", "ModuleList"))
    )


def _is_in_loop(file: Code, thing: Thing, name: str, binding: Binding) -> bool:
    """Whether each round of a loop gives the attribute a layer, of which only the last stays."""
    here = file.contexts[binding.context]
    if here.kind != "for" or thing.cls is None or _goes_round_once(file, here.value) or _grows(binding.value):
        return False
    return _says_only(file, name, 1, here.at.line, here.at.end_line)


def _stands_behind(file: Code, thing: Thing, name: str, binding: Binding) -> bool:
    """Whether the layer is the one behind those that its loop collects, indented too far: the methods of the class call
    it once, and not for each of those. Then the last one is meant.
    """
    if not file.matches(_COLLECTS, file.contexts[binding.context].at):
        return False
    said = re.compile(rf"self\.{re.escape(name)}\(")
    called = [
        call for method, call in in_methods(file, thing) if method != "__init__" and said.match(file.text(call.at))
    ]
    kinds = {here.kind for call in called for here in _inside(file, call)}
    return bool(called) and not kinds & {"for", "while", "comprehension"}


def _inside(file: Code, call: Call) -> Iterator[Context]:
    """What is around a call in its function."""
    for here in file.around(call.context):
        if here.kind == "function":
            return
        yield here


_ONCE_BEHIND = "Make it behind the loop: `forward` calls it once, behind the layers that the loop collects."
_COLLECTS = re.compile(r"\b(?:self\.\w+|\w+)\.append\(|\bself\.add_module\(")


def _goes_round_once(file: Code, source: Value | None) -> bool:
    """Whether a loop has a single round: `for _ in range(1)`, `for width in [64]`."""
    if isinstance(source, Call) and source.name == "builtins.range" and len(source.arguments) == 1:
        return literal(file, source.arguments[0]) in (0, 1)
    return isinstance(source, Group) and len(source.items) < 2


def _says_only(file: Code, name: str, times: int, first: int, last: int) -> bool:
    """Whether lines say an attribute as often as they set it, and hold nothing that may read it in another way: another
    method of the module, a function that is given the module, or a way out before the next layer is made.
    """
    lines = [_SUPER.sub("", line.partition("#")[0]) for line in file.lines[first - 1 : last]]
    said = sum(len(re.findall(rf"\bself\.{re.escape(name)}\b", line)) for line in lines)
    return said == times and not any(_READS.search(line) for line in lines)


_SUPER = re.compile(r"\bsuper\([\w\s,.]*\)")
_READS = re.compile(
    r"(?<![\w.])self\b(?!\s*\.)|\bself\.(?!register_(?:buffer|parameter)\b)\w+\(|\bself\.(?:__\w+__|_modules)\b"
    r"|\b(?:return|break|continue|yield|exec|eval|locals|setattr|getattr)\b"
)
