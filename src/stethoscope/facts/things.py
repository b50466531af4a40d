"""What a value in source code can be, and what stands behind a variable."""

from __future__ import annotations

from typing import NamedTuple

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Binding,
    Call,
    Choice,
    Class,
    Code,
    Constant,
    Function,
    Name,
    Value,
)
from stethoscope.facts.libraries import ITERATING

MOST_STEPS = 40
"""Names, calls and returns that are followed from one value, at most."""
MOST_BARS = 2
"""Ways in which one thing is iterated, one in the other: a variable in a loop may lead back to itself."""


class Step(NamedTuple):
    """A line that a value came through, and what happens there."""

    file: str
    at: At
    words: str


class Thing(NamedTuple):
    """What a value is."""

    kind: str
    """optimizer, scheduler, scaler, loss, loader, dataset, module, tensor, parameters, framework, class, function,
    instance (of a class that is none of these), container, number, text, none or unknown."""
    name: str = ""
    """Full name of its class, or of the function that made it, where that is known."""
    code: Code | None = None
    """The file that defines its class, or the function that it is."""
    number: int = NOWHERE
    """The class or function in that file."""
    made: Call | None = None
    """The call that made it."""
    made_in: Code | None = None

    @property
    def cls(self) -> Class | None:
        """Its class, where a file of the project defines it."""
        is_class = self.code is not None and self.number != NOWHERE and self.kind != "function"
        return self.code.classes[self.number] if is_class and self.code is not None else None

    @property
    def function(self) -> Function | None:
        """The function that it is."""
        known = self.kind == "function" and self.code is not None and self.number != NOWHERE
        return self.code.functions[self.number] if known and self.code is not None else None


UNKNOWN = Thing("unknown")
TENSOR = Thing("tensor")


def followed(code: Code, value: Value | None) -> tuple[Value | None, list[Binding]]:
    """The expression behind a variable, and the bindings on the way to it, the nearest first.

    A variable is followed while it was plainly assigned; not through loops, arguments, or tuples that a call gives.
    """
    way: list[Binding] = []
    while isinstance(value, Name) and value.binding != NOWHERE and len(way) < MOST_STEPS:
        binding = code.bindings[value.binding]
        if binding.how not in ("assign", "define") or binding.value is None or binding.item:
            break
        way.append(binding)
        value = binding.value
    return value, way


def binding_of(code: Code, value: Value | None) -> Binding | None:
    """The binding of a variable."""
    known = isinstance(value, Name) and value.binding != NOWHERE
    return code.bindings[value.binding] if known and isinstance(value, Name) else None


def literal(code: Code, value: Value | None) -> object:
    """The number, text or truth value that an expression is for certain; the expression itself when it is none."""
    found, _ = followed(code, value)
    return found.value if isinstance(found, Constant) else found


def iterated(
    code: Code, value: Value | None, item: tuple[int, ...] = (), depth: int = 0
) -> tuple[Value | None, tuple[int, ...]]:
    """What a loop really goes over, and where in it a variable stands: through `enumerate`, `tqdm` and `zip`, and where
    only a bar of progress makes the difference: `tqdm(loader) if verbose else loader`.
    """
    found, _ = followed(code, value)
    for _ in range(4):
        options = _ways(code, found) if depth < MOST_BARS else ()
        if options:
            ends = [iterated(code, one, item, depth + 1) for one in options]
            first, _ = ends[0]
            is_one = all(_is_same(code, first, one) and place == ends[0][1] for one, place in ends)
            return ends[0] if is_one else (found, item)
        if not isinstance(found, Call):
            break
        inner = found.argument(0)
        if found.name in ITERATING and inner is not None:
            skip = ITERATING[found.name]
            if skip and item:
                if item[0] != 1:
                    return None, ()  # the counter
                item = item[1:]
        elif found.name == "builtins.zip" and item and item[0] < len(found.arguments):
            inner, item = found.arguments[item[0]], item[1:]
        elif found.name == "itertools.islice" or (found.name.endswith("tqdm") and inner is not None):
            pass
        else:
            break
        found, _ = followed(code, inner)
    return found, item


def _ways(code: Code, value: Value | None) -> tuple[Value, ...]:
    """What a value is on each of two ways, one of which may only wrap what the other is."""
    if isinstance(value, Choice):
        return value.options if len(value.options) == 2 else ()
    binding = binding_of(code, value)
    if not isinstance(value, Name) or binding is None or binding.how != "merge" or len(binding.options) != 2:
        return ()
    ways = tuple(Name(value.name, one, value.at) for one in binding.options)
    # A merge at the head of a loop may lead back to itself.
    return ways if all(code.bindings[one].how in ("assign", "argument") for one in binding.options) else ()


def _is_same(code: Code, one: Value | None, other: Value | None) -> bool:
    """Whether two expressions stand for the same value: the same variable, or the same text of one."""
    if isinstance(one, Name) and isinstance(other, Name):
        return one.name == other.name and one.binding == other.binding
    if one is None or other is None or isinstance(one, Choice) or isinstance(other, Choice):
        return False
    return one is other or (isinstance(one, Attribute) and code.text(one.at) == code.text(other.at))
