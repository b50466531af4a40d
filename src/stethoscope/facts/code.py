"""Facts about source code: the lines that were seen to act, and what a file says when it is read and not run.

A file is kept as small resolved forms, and never as a syntax tree: calls with their full names, what each variable was
bound to, and the loops, branches and functions around them. Forms are plain values, and a form names a variable by the
number of its binding, so that facts can be stored. Its neighbours answer questions about them: `things` and `origins`
what a value is and where it comes from, `layers` and `module_classes` what a model is made of and gives, `events` and
`loops` what training does in which order, `evaluations` what only looks, `loss_calls` what a loss is given.

    loss = F.cross_entropy(model(x), y)

    Binding("loss", "assign", Call("torch.nn.functional.cross_entropy", None, (Call("()", Name("model", 3)), ...)))
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from stethoscope.facts.linked import Linked, uncommented

NOWHERE = -1
"""The number of a binding, function or class that is not known."""


@dataclass(frozen=True)
class Site:
    """A line of the user's code from which something was called."""

    file: str
    """Path as Python knows it, shortened to the working directory where it lies below it."""
    line: int
    """1-based; 0 when unknown."""
    function: str = ""
    """The function that holds the line; empty at module level."""
    text: str = ""
    """The line itself, stripped; empty when the source is not at hand."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class At(NamedTuple):
    """A stretch of source text."""

    line: int
    """1-based, in the text that was parsed: of a notebook, all code cells one after the other."""
    column: int
    """0-based, in bytes of UTF-8, as `ast` counts."""
    end_line: int
    end_column: int


# The forms that an expression can have. Named tuples, and no dataclasses: there are millions, and a frozen dataclass
# takes five times as long to make.


class Constant(NamedTuple):
    """A literal."""

    value: Any
    """A str, bytes, int, float, complex, bool, None or Ellipsis."""
    at: At


class Symbol(NamedTuple):
    """Something imported, or a builtin, by its full name: `torch.nn.ReLU`, `builtins.float`."""

    name: str
    at: At


class Name(NamedTuple):
    """A variable, or an attribute that this function has set: `loss`, `self.hidden`."""

    name: str
    """As written, dotted."""
    binding: int
    """What it is bound to here; NOWHERE when that is not known."""
    at: At


class Attribute(NamedTuple):
    """An attribute of a value."""

    value: Value
    name: str
    at: At


class Call(NamedTuple):
    """A call. What is called has a full name, or is a method, or a value."""

    name: str
    """`torch.softmax` of something imported; `.step` of a method; `()` where a value is called, as in `model(x)`."""
    receiver: Value | None
    """What the method belongs to, or the value that is called; None of something imported."""
    arguments: tuple[Value, ...]
    keywords: tuple[tuple[str, Value], ...]
    """Those of `**options` have an empty name."""
    at: At
    context: int
    number: int
    """Its place in `Code.calls`: those of one function stand together, in the order in which they are made."""

    def keyword(self, name: str) -> Value | None:
        """The keyword argument of that name."""
        return next((value for key, value in self.keywords if key == name), None)

    def argument(self, position: int, name: str = "") -> Value | None:
        """The argument at that position, or of that name."""
        if position < len(self.arguments):
            found = self.arguments[position]
            return None if any(isinstance(one, Starred) for one in self.arguments[: position + 1]) else found
        return self.keyword(name) if name else None

    @property
    def is_open(self) -> bool:
        """Whether there are `*arguments` or `**options` that cannot be seen."""
        return any(not key for key, _ in self.keywords) or any(isinstance(one, Starred) for one in self.arguments)


class Item(NamedTuple):
    """`value[key]`; a slice is an Operation `:`."""

    value: Value
    key: Value
    at: At


class Operation(NamedTuple):
    """Operands and what joins them: `+`, `==`, `and`, `not`, `-`, `:` of a slice, `await`, `f` of a formatted text."""

    operator: str
    operands: tuple[Value, ...]
    at: At


class Group(NamedTuple):
    """A tuple, list, set or dict display."""

    kind: str
    items: tuple[Value, ...]
    keys: tuple[Value | None, ...]
    """Of a dict; None where another dict is unpacked."""
    at: At


class Each(NamedTuple):
    """A comprehension."""

    kind: str
    """list, set, dict or generator."""
    element: Value
    source: Value
    """What the first `for` iterates."""
    at: At


class Choice(NamedTuple):
    """`first if condition else second`, or `first or second`."""

    condition: Value | None
    options: tuple[Value, ...]
    at: At


class Starred(NamedTuple):
    """`*value` as an argument or in a display."""

    value: Value
    at: At


class Defined(NamedTuple):
    """A function or class of this file."""

    kind: str
    """function or class."""
    number: int
    """In `Code.functions` or `Code.classes`."""
    at: At


class Unknown(NamedTuple):
    """What is not understood, and why."""

    why: str
    at: At


Value = (
    Constant | Symbol | Name | Attribute | Call | Item | Operation | Group | Each | Choice | Starred | Defined | Unknown
)


class Binding(NamedTuple):
    """That a name got a value."""

    name: str
    """Dotted, as written: `loss`, `self.hidden`, `parameter.grad`."""
    how: str
    """assign, augment (`+=`; the value is the Operation), for, with, argument, define, except, merge or delete."""
    value: Value | None
    """What it got; of `for` what is iterated, of `with` the context manager, of an argument its default."""
    item: tuple[int, ...]
    """Position in the value, outermost first: of `for i, (x, y) in enumerate(loader)`, `y` is at (1, 1)."""
    options: tuple[int, ...]
    """Of a merge: the bindings of the branches that meet here."""
    at: At
    context: int
    order: int
    """How many calls of the file come before it."""
    before: int
    """The binding of the same name that it replaced, or NOWHERE."""


class Context(NamedTuple):
    """Something that encloses statements. All enclosing ones are found by following `parent`."""

    kind: str
    """module, function, class, for, while, if, else, with, try, except, finally, comprehension, or once: a `for` that
    ends in `break`."""
    parent: int
    at: At
    value: Value | None
    """The condition, what is iterated, or the context manager."""
    owner: int
    """Index of the function or class, or NOWHERE."""


class Parameter(NamedTuple):
    """A parameter of a function."""

    name: str
    annotation: str
    """Full name of the type where it is a plain name, or empty."""
    default: Value | None
    binding: int


class Returned(NamedTuple):
    """A return statement, or a lambda's value."""

    value: Value
    context: int
    order: int
    """How many calls of the file come before it."""


class Bare(NamedTuple):
    """An expression that is a statement."""

    value: Value
    context: int
    displayed: bool
    """Whether a notebook shows it, being the last of its cell."""


@dataclass(frozen=True)
class Function:
    """A function, a method, or a lambda."""

    name: str
    """`<lambda>` of a lambda."""
    at: At
    context: int
    """Its own, from which those around it are reached."""
    owner: int
    """The class whose method it is, or NOWHERE."""
    parameters: tuple[Parameter, ...]
    """In order, `self` included; the ones of `*args` and `**options` left out."""
    decorators: tuple[Value, ...]
    returns: tuple[Returned, ...]
    calls: tuple[int, int]
    """Its calls are `Code.calls[first:second]`; those of functions inside of it are left out."""
    bindings: tuple[int, int]
    """Likewise."""


@dataclass(frozen=True)
class Class:
    """A class."""

    name: str
    at: At
    context: int
    bases: tuple[Value, ...]
    methods: Mapping[str, int]
    """Name to index in `Code.functions`."""
    attributes: Mapping[str, tuple[int, ...]]
    """Name to all bindings, in the class body and through `self` in its methods."""


@dataclass(frozen=True)
class Code:
    """A file that was read, or a notebook."""

    file: str
    """As it was given, `/` between its parts."""
    module: str = ""
    """Dotted name from the top of its project, where it can be imported by one."""
    lines: tuple[str, ...] = ()
    """The text that was parsed."""
    cells: tuple[tuple[int, int], ...] = ()
    """Of a notebook: number of each code cell, counted from 1 among all cells, and the first line of it in `lines`."""
    calls: tuple[Call, ...] = ()
    bindings: tuple[Binding, ...] = ()
    contexts: tuple[Context, ...] = ()
    functions: tuple[Function, ...] = ()
    """The first is the module's own body, with the name `<module>`."""
    classes: tuple[Class, ...] = ()
    bare: tuple[Bare, ...] = ()
    keys: tuple[Value, ...] = ()
    """What stands between the brackets of an item that is assigned to."""
    names: Mapping[str, int | str] = field(default_factory=dict)
    """What is bound at module level in the end: number of the binding, or full name of what was imported."""
    stars: tuple[str, ...] = ()
    """Modules of which everything was imported by `*`."""
    imports: tuple[tuple[str, int, tuple[str, ...]], ...] = ()
    """What it imports, in its order: a dotted name, the dots before it, and the names that are taken from it."""
    confusing: tuple[str, ...] = ()
    """Why parts of it were not understood, a clause each."""
    linked: Linked = field(default_factory=Linked, compare=False, repr=False)
    """Files of the same project that it imports."""
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """Answers to questions that were asked before; no fact."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("memo", "linked")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, memo={}, linked=Linked())

    def around(self, context: int) -> Iterator[Context]:
        """The contexts around something, innermost first."""
        while context != NOWHERE:
            here = self.contexts[context]
            yield here
            context = here.parent

    def numbers_around(self, context: int) -> Iterator[int]:
        """The same, as indices."""
        while context != NOWHERE:
            yield context
            context = self.contexts[context].parent

    def function_at(self, context: int) -> int:
        """Index of the function around something."""
        homes: list[int] | None = self.memo.get("functions by context")
        if homes is None:
            homes = self.memo["functions by context"] = []
            for here in self.contexts:  # what encloses it comes first
                is_one = here.kind in ("function", "module")
                homes.append(here.owner if is_one else homes[here.parent] if here.parent != NOWHERE else 0)
        return homes[context] if context != NOWHERE else 0

    def class_of(self, function: int) -> int:
        """Index of the class whose method a function is, also from functions inside of that method."""
        for here in self.around(self.functions[function].context):
            if here.kind == "function" and self.functions[here.owner].owner != NOWHERE:
                return self.functions[here.owner].owner
        return NOWHERE

    def calls_of(self, *names: str) -> tuple[Call, ...]:
        """All calls of these names: full ones (`torch.softmax`) or methods (`.softmax`)."""
        index = self._calls_by_name()
        found = [index[name] for name in names if name in index]
        if len(found) < 2:
            return tuple(found[0]) if found else ()
        return tuple(sorted(chain.from_iterable(found), key=attrgetter("number")))

    def calls_named(self, is_asked_for: Callable[[str], bool]) -> tuple[Call, ...]:
        """All calls of the names of which this holds: a file has many calls of few names, and each is asked of once."""
        return self.calls_of(*[name for name in self._calls_by_name() if is_asked_for(name)])

    def _calls_by_name(self) -> dict[str, list[Call]]:
        index: dict[str, list[Call]] | None = self.memo.get("calls by name")
        if index is None:
            index = self.memo["calls by name"] = {}
            for call in self.calls:
                index.setdefault(call.name, []).append(call)
        return index

    def functions_with(self, *names: str) -> list[int]:
        """The functions that have a call of one of these names in their own lines, in order."""
        numbers = [call.number for call in self.calls_of(*names)]  # in order
        if not numbers:
            return []
        spans = ((index, *function.calls) for index, function in enumerate(self.functions))
        return [index for index, first, last in spans if bisect_left(numbers, first) < bisect_left(numbers, last)]

    def says(self, *words: str) -> bool:
        """Whether any of these words stands anywhere in the text, outside of comments."""
        whole = self.uncommented()
        return any(word in whole for word in words)

    def and_linked_say(self, *words: str) -> bool:
        """The same of this text and of those of the project's files that it imports."""
        return self.says(*words) or self.linked.say(*words)

    def matches(self, pattern: re.Pattern[str], at: At | None = None) -> bool:
        """Whether a pattern is found anywhere in the text, or in the lines of a stretch; comments do not count."""
        if at is not None:
            return any(pattern.search(line.partition("#")[0]) for line in self.lines[at.line - 1 : at.end_line])
        return pattern.search(self.uncommented()) is not None

    def uncommented(self) -> str:
        """The text without comments, and without what stands behind a `#` in a string."""
        whole: str | None = self.memo.get("text")
        if whole is None:
            whole = self.memo["text"] = uncommented(self.lines)
        return whole

    def text(self, at: At) -> str:
        """The source text of a stretch that does not leave its line; else of its first line."""
        if not 0 < at.line <= len(self.lines):
            return ""
        raw = self.lines[at.line - 1].encode("utf-8", "surrogatepass")
        end = at.end_column if at.end_line == at.line else len(raw)
        return raw[at.column : end].decode("utf-8", "replace")
