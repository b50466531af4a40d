"""Networks and tensors that are changed after they were made: what was read off their making no longer holds.

net = Net()
net.act = nn.Identity()        is_rebuilt(net)
p = scores.softmax(1)
p.log_()                       changed_in_place(code, p)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Call, Class, Code, Name, Value
from stethoscope.facts.libraries import SAME_METHODS
from stethoscope.facts.origins import called, lineage, thing_of
from stethoscope.facts.things import Thing

_PARTS = r"(?:\.\w+|\[[^\]\n]*\])*"
_NEW_PART = re.compile(
    rf"(\.\w+|\[[^\]\n]*\]){_PARTS}\s*=(?!=)\s*"
    r"(?:[\w.]*\b[A-Z]\w*\(|lambda\b|None\b|[\w.]*MethodType\(|(?P<other>[\w.]+)\.\w+(?:\[.*\])?\s*$)",
    re.M,
)
"""What stands behind a network where a part gets a layer that is made there, nothing, another method, or what another
network has in its place.
"""
_ADDS = re.compile(
    r"\.(?:append|extend|insert|pop|add_module|register_module|__setitem__|__delitem__)\("
    rf"|{_PARTS}\.(?:add_module\(|_modules\b)"
)
"""What stands behind one that gets parts."""
_DELETES = re.compile(r"\bdel\s+$")
_SETS_BY_NAME = re.compile(r"\bsetattr\(\s*$")
_COMMA = re.compile(r"\s*,")
_FAR = 200
"""Characters in front of a network in which `del` or `setattr(` is looked for."""
_CHANGES_PARTS = re.compile(r"\bsetattr\(|\._modules\b")


def is_rebuilt(thing: Thing) -> bool:
    """Whether the file that makes a network gives it other parts afterwards: `net[-1] = nn.Identity()`."""
    made, home = thing.made, thing.made_in
    if made is None or home is None:
        return thing.code is not None and thing.cls is not None and _has_other_heirs(thing.code, thing.cls)
    known: dict[int, bool] = home.memo.setdefault("rebuilt", {})
    if made.number not in known:
        names = names_of(home, made)
        known[made.number] = any(_is_changed(home, one, thing) or _is_set_by_heirs(home, made, one) for one in names)
    return known[made.number]


def _has_other_heirs(home: Code, cls: Class) -> bool:
    """Whether a class of the same file derives from this one and does something its own way: what is only said to be of
    this class may be of that one.
    """
    return any({*heir.methods, *heir.attributes} - {"__init__"} for heir in _heirs(home, cls))


def _is_set_by_heirs(home: Code, made: Call, name: str) -> bool:
    """Whether a class that derives from the one in which an attribute is made gives it another value."""
    owner = home.class_of(home.function_at(made.context)) if name.startswith("self.") else NOWHERE
    if owner == NOWHERE:
        return False
    return any(name.removeprefix("self.") in heir.attributes for heir in _heirs(home, home.classes[owner]))


def _heirs(home: Code, cls: Class) -> list[Class]:
    return [
        one for one in home.classes if one is not cls and any(thing_of(home, base).cls is cls for base in one.bases)
    ]


def names_of(home: Code, made: Call) -> set[str]:
    """The variables and attributes that hold what a call makes, also where it is moved at once."""
    known: dict[int, set[str]] | None = home.memo.get("names of what is made")
    if known is None:
        known = home.memo["names of what is made"] = {}
        for binding in home.bindings:
            value = binding.value if binding.how == "assign" and not binding.item else None
            while isinstance(value, Call):
                known.setdefault(value.number, set()).add(binding.name)
                value = value.receiver if value.name in SAME_METHODS else None
    return known.get(made.number, set())


def _is_changed(home: Code, name: str, thing: Thing) -> bool:
    text = home.uncommented()
    if name.endswith("[]") or name not in text:
        return False
    places = list(_places(text, name))
    if any(_is_given_parts(text, start, end) for start, end in places):
        return True
    own = set() if thing.cls is None else {"forward", *(one for _, cls in lineage(thing) for one in _parts(cls))}
    for _, end in places:
        change = _NEW_PART.match(text, end)
        if change is not None and change["other"] in (None, name) and (change[1][0] == "[" or change[1][1:] in own):
            return True
    return home.and_linked_say("setattr(", "_modules") and _is_handed_to_who_changes(home, name)


def _places(text: str, name: str) -> Iterator[tuple[int, int]]:
    """Where a variable stands in a text. A pattern of its name would be made for each, and look at every letter."""
    start = text.find(name)
    while start >= 0:
        end = start + len(name)
        before = text[start - 1] if start else " "
        if not (before.isalnum() or before in "_."):
            yield start, end
        start = text.find(name, end)


def _is_given_parts(text: str, start: int, end: int) -> bool:
    """Whether parts are added to the network that stands there, or deleted, or set by their names."""
    if text.startswith((".", "["), end):
        return bool(_ADDS.match(text, end) or _DELETES.search(text, max(start - _FAR, 0), start))
    return _COMMA.match(text, end) is not None and bool(_SETS_BY_NAME.search(text, max(start - _FAR, 0), start))


def _parts(cls: Class) -> set[str]:
    return {*cls.methods, *cls.attributes}


def _is_handed_to_who_changes(home: Code, name: str) -> bool:
    """Whether a function that is seen gets the network and sets parts of what it is given by their names."""
    for call in home.calls:
        if any(isinstance(one, Name) and one.name == name for one in call.arguments):
            callee = called(home, call)
            function = callee.function
            if callee.code is not None and function and callee.code.matches(_CHANGES_PARTS, function.at):
                return True
    return False


def is_taken_apart(home: Code, made: Call) -> bool:
    """Whether parts of a chain are taken by their places: `self.layers[:2](x)`."""
    text = home.uncommented()
    return any(text.startswith("[", end) for name in names_of(home, made) for _, end in _places(text, name))


_HARMLESS = frozenset({
    ".requires_grad_", ".detach_", ".retain_grad_", ".clamp_", ".clip_", ".clamp_min_", ".clamp_max_", ".squeeze_",
    ".unsqueeze_", ".t_", ".transpose_", ".masked_fill_", ".share_memory_",
})  # fmt: skip
"""Methods in place after which numbers are, but for their ends and holes, what they were."""


def changed_in_place(code: Code, number: int) -> bool:
    """Whether a line changes the numbers that a variable holds: `p.clamp_(min=1e-7).log_()`, `torch.log(p, out=p)`."""
    if "changed in place" not in code.memo:
        code.memo["changed in place"] = {one for bare in code.bare for one in _changed(code, bare.value)}
    found: set[int] = code.memo["changed in place"]
    return number in found


def _changed(code: Code, value: Value) -> set[int]:
    """The bindings whose numbers a line that stands by itself changes."""
    is_changed = False
    root: Value | None = value
    while isinstance(root, Call) and root.receiver is not None and root.name.startswith("."):
        is_changed |= root.name.endswith("_") and not root.name.endswith("__") and root.name not in _HARMLESS
        root = root.receiver
    if isinstance(root, Call) and root.name.startswith("torch."):
        is_changed |= root.name.endswith("_")
        root = root.keyword("out") or (root.argument(0, "input") if is_changed else None)
        is_changed |= root is not None
    if not is_changed or not isinstance(root, Name) or root.binding == NOWHERE:
        return set()
    return {root.binding, *code.bindings[root.binding].options}
