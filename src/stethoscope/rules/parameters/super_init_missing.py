"""Layers that are assigned before `nn.Module` was set up."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import At, Binding, Call, Choice, Class, Code, Context, Name, Value
from stethoscope.facts.module_classes import assigned, is_plain_module, modules_in
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import Thing
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code
from stethoscope.rules.spared_layers import PATCHED

_SETS_UP = re.compile(r"__init__\s*\(")
_SKETCH = re.compile(r"^\s*self\.\w+\s*(?::[^=]+)?=\s*(?:\.\.\.|NotImplemented)\s*(?:#.*)?$")
"""A part that is left open: `self.encoder = ...`. Such a class is not made yet."""


class SuperInitMissing(Rule):
    """A module assigns a layer before `super().__init__()`, which PyTorch refuses.

    ## What it sees
    `__init__` of a class that inherits from `nn.Module` alone sets an attribute to a layer or a parameter, and has not
    called `super().__init__()` before.
    ## Why it hurts
    `nn.Module.__init__` makes the tables in which layers are registered. Without them the assignment raises
    `AttributeError: cannot assign module before Module.__init__() call` as soon as the class is constructed.
    ## How to fix it
    Make `super().__init__()` the first line of `__init__`.
    ## When it is not a fault
    A class that does not assign layers by attribute may do without; that is not reported, nor is a class, or a
    constructor, that a decorator or a metaclass changes, that hands itself to a function before, or that looks up the
    constructor of its base in another way, and one of which a part is left open (`self.encoder = ...`), whose heirs
    pass over it first (`super(Base, self).__init__()`), or that is only made to catch and show the error.
    ## Sources
    PyTorch documentation, `torch.nn.Module`: "an `__init__()` call to the parent class must be made before assignment
    on the child". A run of the script ends there with that error.
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the first layer that each `__init__` assigns."""
        for thing in modules_in(file):
            cls = thing.cls
            number = cls.methods.get("__init__") if cls is not None else None
            if cls is None or number is None or not is_plain_module(thing):
                continue
            first = _first_layer(file, thing, number)
            if first is None:
                continue
            head = _before(file, file.functions[number].at, first.at)
            if _is_set_up(head) or _is_called(file, cls, number, first):
                continue
            if file.matches(_SKETCH, cls.at) or _is_set_up_by_another(file, cls) or _is_tried(file, cls):
                continue
            if _is_changed(file, cls, number, first) or any(_is_other_way(line, first.at.column) for line in head):
                continue
            what = "parameters" if thing_of(file, first.value).name.endswith(".Parameter") else "layers"
            yield self.finding(
                fitting(*_titles(file, cls, number, first)),
                sureness=Sureness.CERTAIN,
                place=place_in(file, first.at),
                evidence=[
                    Evidence(
                        f"calls of `super().__init__()` before {line_of(file, first.at)}", 0, "1, in the first line"
                    )
                ],
                cause=f"`nn.Module` refuses {what} until its own `__init__` has run, with an `AttributeError`.",
                fixes=["Begin `__init__` with it:\n" + code("super().__init__()")],
            )

    bad_code = {
        "left out": """
            class Net(nn.Module):
                def __init__(self):
                    self.fc = nn.Linear(3, 2)  # bad
                    self.out = nn.Linear(2, 2)

                def forward(self, x):
                    return self.out(self.fc(x))
            """,
        "too late, and without parentheses": """
            class Late(nn.Module):
                def __init__(self, width):
                    self.width = width
                    self.fc = nn.Linear(3, width)  # bad
                    super().__init__()

            class Bare(nn.Module):
                def __init__(self):
                    super(Bare, self).__init__
                    self.gain = nn.Parameter(torch.ones(3))  # bad
            """,
        "a loss, one of two, and behind a comment": """
            class Criterion(nn.Module):
                def __init__(self):
                    self.loss = nn.CrossEntropyLoss()  # bad

            class Block(nn.Module):
                def __init__(self, rate):
                    # super().__init__()
                    self.drop = nn.Dropout(rate) if rate > 0 else nn.Identity()  # bad
            """,
        "behind a method of its own": """
            class Net(nn.Module):
                def __init__(self, widths):
                    self._check(widths)
                    self.fc = nn.Linear(3, widths[0])  # bad

                def _check(self, widths):
                    assert len(widths) == 1
            """,
    }
    good_code = {
        "set up in a method of its own": """
            class Net(nn.Module):
                def __init__(self, widths):
                    self._begin()
                    self.fc = nn.Linear(3, widths[0])

                def _begin(self):
                    super().__init__()

            class Other(nn.Module):
                def __init__(self, loss, part):
                    self.value = F.mse_loss(loss, loss)
                    self.part = part or nn.Linear
                    super().__init__()
                    self.criterion = nn.MSELoss()
            """,
        "called first": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(3, 2)

            class Old(nn.Module):
                def __init__(self):
                    nn.Module.__init__(self)
                    self.fc = nn.Linear(3, 2)
            """,
        "no constructor, or plain attributes before": """
            class Net(nn.Module):
                def __init__(self, width):
                    self.width = width
                    super().__init__()
                    self.fc = nn.Linear(3, width)

            class Plain(nn.Module):
                def forward(self, x):
                    return x
            """,
        "no module": """
            class Holder:
                def __init__(self):
                    self.fc = nn.Linear(3, 2)
            """,
        "in another way": """
            def begun(cls):
                old = cls.__init__

                def begin(self, *given):
                    nn.Module.__init__(self)
                    old(self, *given)

                cls.__init__ = begin
                return cls

            @begun
            class Decorated(nn.Module):
                def __init__(self):
                    self.fc = nn.Linear(3, 2)

            class New(nn.Module):
                def __new__(cls):
                    made = super().__new__(cls)
                    nn.Module.__init__(made)
                    return made

                def __init__(self):
                    self.fc = nn.Linear(3, 2)

            class Named(nn.Module):
                def __init__(self):
                    begin = super().__init__
                    begin()
                    self.fc = nn.Linear(3, 2)

            class Handed(nn.Module):
                def __init__(self):
                    set_up(self)
                    self.fc = nn.Linear(3, 2)

            class Hidden(nn.Module):
                def __init__(self):
                    self.__dict__["fc"] = nn.Linear(3, 2)
                    super().__init__()
            """,
        "by a base of the project": """
            class Base(nn.Module):
                def __init__(self):
                    super().__init__()

            class Net(Base):
                def __init__(self):
                    self.setup()
                    self.fc = nn.Linear(3, 2)

                def setup(self):
                    Base.__init__(self)
            """,
    }


def _titles(file: Code, cls: Class, number: int, first: Binding) -> tuple[str, ...]:
    """What is wrong, in words of several lengths: it is called too late, or nowhere."""
    at = file.functions[number].at
    comes_late = any(_SETS_UP.search(line.partition("#")[0]) for line in file.lines[first.at.end_line : at.end_line])
    if comes_late:
        return (
            f"`{cls.name}` sets `{first.name}` before `super().__init__()`",
            f"`{first.name}` is set before `super().__init__()`",
            "a layer is set before `super().__init__()`",
        )
    return (
        f"`{cls.name}` sets `{first.name}`, and never calls `super().__init__()`",
        f"`{first.name}` is set without `super().__init__()`",
        "a layer is set without `super().__init__()`",
    )


def _first_layer(file: Code, thing: Thing, number: int) -> Binding | None:
    """What `__init__` sets first to a layer or a parameter; None as well where it sets the module up before all."""
    plain = (one for _, one in assigned(file, thing) if file.function_at(one.context) == number and not one.item)
    in_order = sorted(plain, key=lambda binding: binding.at)
    if in_order and _is_set_up(_before(file, file.functions[number].at, in_order[0].at)):
        return None
    return next((binding for binding in in_order if _is_registered(file, binding)), None)


def _is_set_up(head: list[str]) -> bool:
    """Whether lines call the constructor of a base."""
    return any(_SETS_UP.search(line.partition("#")[0]) for line in head)


def _is_registered(file: Code, binding: Binding) -> bool:
    """Whether an attribute gets what a module registers, whichever of several it is."""
    value = binding.value
    return all(_is_layer(file, one) for one in (value.options if isinstance(value, Choice) else (value,)))


def _is_layer(file: Code, value: Value | None) -> bool:
    made = thing_of(file, value)
    is_class = made.name.rpartition(".")[2][:1].isupper()  # a loss is a module, too, and `F.mse_loss` is a function
    return made.made is value and (
        made.name == "torch.nn.Parameter"
        or (made.kind in ("module", "loss") and (made.cls is not None or ("torch.nn." in made.name and is_class)))
    )


def _before(file: Code, constructor: At, first: At) -> list[str]:
    """The text from the head of a constructor to a line of it, and what stands in that line before."""
    begun = file.text(first._replace(column=0, end_line=first.line, end_column=first.column))
    return [*file.lines[constructor.line : first.line - 1], begun]


def _is_changed(file: Code, cls: Class, number: int, first: Binding) -> bool:
    """Whether more than a class's own constructor decides what happens there."""
    above = file.lines[cls.at.line - 2].lstrip() if cls.at.line > 1 else ""
    head = file.lines[cls.at.line - 1]
    special = {"__new__", "__setattr__", "__init_subclass__", first.name.partition(".")[2]} & set(cls.methods)
    marked = above.startswith(("@", ")")) and "regist" not in above.lower()
    is_decorated = bool(file.functions[number].decorators) or marked or head.lstrip()[:1] == "@"
    is_plain = first.name.startswith("self.") and first.name[5:].isidentifier() and "__dict__" not in first.name
    within = [here.kind for here in file.around(first.context)]
    return is_decorated or bool(special) or "metaclass" in head or not is_plain or "with" in within


def _is_other_way(line: str, column: int) -> bool:
    """Whether a line before the first layer, which stands at a column, may set the module up, or surely leaves before.

    `super().__init__`, alone and without parentheses, does nothing.
    """
    told = _DOES_NOTHING.sub("", line.partition("#")[0])
    leaves = re.match(r"\s*(?:raise|return)\b", told) is not None and len(told) - len(told.lstrip()) <= column
    return leaves or _OTHER_WAYS.search(told) is not None


_DOES_NOTHING = re.compile(r"^\s*super\([\w\s,]*\)\.__init__\s*$|^\s*self\s*(?:,.*)?$|^\s*def \w+\(self\b")
"""A constructor that is named and not called; `self` in a head of several lines."""
_OTHER_WAYS = re.compile(
    r"\bsuper\b|__\w+__|_modules\b|_parameters\b|(?<![\w.])self\b(?!\s*\.)|\b(?:exec|eval|getattr)\("
)


def _is_set_up_by_another(file: Code, cls: Class) -> bool:
    """Whether another constructor sets the module up and then calls this one by its class: `Head.__init__(self, n)`."""
    if file.matches(re.compile(rf"\bsuper\(\s*{re.escape(cls.name)}\s*,\s*self\s*\)\.__init__\(")):
        return True  # an heir that passes over this constructor, and calls it afterwards
    begun = re.compile(r"\bModule\.__init__\((?!\s*super)")
    others = [file.functions[number].at for name, number in cls.methods.items() if name != "__init__"]
    if file.matches(PATCHED) or any(file.matches(begun, at) for at in others):
        return True  # as a maker of its own that begins with it
    calls = re.compile(rf"(?<!\w){re.escape(cls.name)}\.__init__\(\s*self\b")
    for function in file.functions[1:]:
        lines = [line.partition("#")[0] for line in file.lines[function.at.line - 1 : function.at.end_line]]
        first = next((number for number, line in enumerate(lines) if calls.search(line)), 0)
        if function.name == "__init__" and any(".__init__(" in line for line in lines[:first]):
            return True
    return False


def _is_tried(file: Code, cls: Class) -> bool:
    """Whether the file makes the class, and only where the error is caught, to show it."""
    made = [call for call in file.calls if call.name.rpartition(".")[2] == cls.name or _names(call, cls.name)]
    caught = file.matches(re.compile(r"\bexcept\b.*\bAttributeError\b"))
    return bool(made) and all(any(_expects(file, here, caught) for here in file.around(one.context)) for one in made)


def _expects(file: Code, here: Context, caught: bool) -> bool:
    return (here.kind == "try" and caught) or (here.kind == "with" and "aises" in file.lines[here.at.line - 1])


def _names(call: Call, name: str) -> bool:
    return call.name == "()" and isinstance(call.receiver, Name) and call.receiver.name == name


def _is_called(file: Code, cls: Class, number: int, until: Binding) -> bool:
    """Whether `__init__` calls something before that may set the module up: a method that is not its own, or one of its
    own where one of them does.
    """
    first, last = file.functions[number].calls
    called = {
        call.name[1:]
        for call in file.calls[first:last]
        if call.name.startswith(".") and call.at < until.at and file.text(call.at).startswith(("self.", "cls."))
    }
    own = [file.functions[one].at for name, one in cls.methods.items() if name != "__init__"]
    return not called <= set(cls.methods) or (bool(called) and any(file.matches(_SETS_UP, one) for one in own))
