"""A method that is named and not called."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.cells import is_displayed
from stethoscope.facts.code import Attribute, Code, Name
from stethoscope.facts.guarded import is_there_to_fail
from stethoscope.facts.model_like import model_like
from stethoscope.facts.origins import lineage, thing_of
from stethoscope.facts.things import Thing
from stethoscope.rules.lines import fitting, insertion, line_of, place_in, quoted
from stethoscope.rules.sites import code

METHODS = {
    "eval": ("module",),
    "train": ("module",),
    "step": ("optimizer", "scheduler"),
    "zero_grad": ("optimizer", "module"),
    "backward": ("tensor",),
}
"""Methods that are called for what they do, and what has them."""


class CallForgotten(Rule):
    """A method that is called for its effect stands there without its parentheses, and does nothing.

    ## What it sees
    `model.eval`, `optimizer.step`, `optimizer.zero_grad` or `loss.backward` as a statement of its own.
    ## Why it hurts
    Python looks the method up and drops it. There is no error: the mode stays, nothing is stepped, nothing is cleared.
    ## How to fix it
    Write the parentheses.
    ## When it is not a fault
    The last line of a notebook's cell, or a line of a script in cells, which displays the method; a property; a line in
    `try`. None of these is reported. Of what is not seen to have such a method it is possible at most, as it is beside
    a line that calls it, `zero_grad` in a file in which nothing goes backward, or lines that name other things of
    the same object, which asks whether it has them, and of `model.train` where nothing ever leaves that mode.
    ## Sources
    Python documentation, "Expression statements".
    """

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for methods that are statements."""
        for bare in file.bare:
            value = bare.value
            if not isinstance(value, Attribute) or value.name not in METHODS or is_displayed(file, bare):
                continue
            thing = thing_of(file, value.value)
            kind = thing.kind
            if kind not in (*METHODS[value.name], "unknown") or is_there_to_fail(file, bare.context):
                continue
            if _is_property(file, thing, value.name) or file.text(value.value.at) == "_":
                continue  # `_.step  # unused`: a list for a tool that looks for names
            name = quoted(file, value, f"`{value.name}`")
            is_done = _is_done(file, value, kind, bare.context) or _is_asked_for(file, value, bare.context)
            yield self.finding(
                fitting(f"{name} is named, and not called", f"`{value.name}` is named, and not called"),
                sureness=Sureness.POSSIBLE if is_done else _how_sure(file, value, kind),
                place=place_in(file, value.at),
                evidence=[Evidence(f"calls that {line_of(file, value.at)} makes", 0, 1)],
                cause="Without parentheses the method is looked up and dropped: nothing happens.",
                fixes=[
                    Fix(
                        "Call it:\n" + code(f"{file.text(value.at)}()"),
                        safe=True,
                        edits=(insertion(file, value.at.end_line, value.at.end_column, "()"),),
                    )
                ],
            )

    bad_code = {
        "a mode and a step": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                model.train  # bad
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step  # bad
            """,
    }
    good_code = {
        "called": """
            model = nn.Linear(3, 2)
            model.eval()
            switch = model.train
            """,
        "an attribute that is read": """
            model = nn.Linear(3, 2)
            model.weight
            """,
    }


def _is_property(file: Code, thing: Thing, name: str) -> bool:
    """Whether a class has something by this name that is no method to be called: a property, a number."""
    homes = list(lineage(thing)) or [(file, cls) for cls in file.classes if thing.kind == "unknown"]
    for home, cls in homes:
        index = cls.methods.get(name)
        if name in cls.attributes or (index is not None and home.functions[index].decorators):
            return True
    return False


def _is_done(file: Code, value: Attribute, kind: str, context: int) -> bool:
    """Whether the method is called in a line beside, too, or the mode is the one in which a model is made."""
    owner = file.text(value.value.at)
    for call in file.calls_of(f".{value.name}"):
        near = abs(call.at.line - value.at.line) <= _BESIDE_LINES
        if near and call.context == context and call.receiver is not None and file.text(call.receiver.at) == owner:
            return True
    is_new = value.name == "train" and kind == "module" and not file.matches(_OTHER_MODE)
    return is_new and not file.and_linked_say(".eval(", ".train(False")


def _is_asked_for(file: Code, value: Attribute, context: int) -> bool:
    """Whether the lines beside name other things of the same owner that nobody would call there, as a line does that
    asks whether an object has them: `optimizer.step`, `optimizer.param_groups`.
    """
    owner = file.text(value.value.at)
    return any(
        isinstance(one.value, Attribute)
        and one.value.name not in METHODS
        and one.context == context
        and abs(one.value.at.line - value.at.line) <= _BESIDE_LINES
        and file.text(one.value.value.at) == owner
        for one in file.bare
    )


_BESIDE_LINES = 2
_OTHER_MODE = re.compile(r"\.eval\b|\btrain\(|from_pretrained|\.train\(|\bimport_module|[Tt]rainer|import \*")


def _how_sure(file: Code, value: Attribute, kind: str) -> Sureness:
    if value.name == "zero_grad" and not file.says("backward"):
        return Sureness.POSSIBLE  # where nothing goes backward, another attribute may be meant
    if kind != "unknown":
        return Sureness.CERTAIN
    return Sureness.LIKELY if _is_called(file, value) else Sureness.POSSIBLE


def _is_called(file: Code, value: Attribute) -> bool:
    """Whether what is not known otherwise is seen to have such a method: it is called elsewhere, or others are that
    models or optimizers have.
    """
    if isinstance(value.value, Name) and value.value.binding in model_like(file):
        return True
    if value.name not in _BESIDE:
        return True
    owner = re.escape(file.text(value.value.at))
    beside = rf"(?<![\w.]){owner}\.(?:{value.name}\(|{_BESIDE[value.name]})"
    return bool(owner) and file.matches(re.compile(beside))


_BESIDE = {
    "eval": r"(?:train|parameters|load_state_dict|named_parameters|to|cuda)\(",
    "train": r"(?:eval|parameters|load_state_dict|named_parameters|to|cuda)\(",
    "step": r"(?:zero_grad\(|get_last_lr\(|get_lr\(|param_groups|state_dict\(|load_state_dict\()",
}
"""What is done to a thing that has this method; an option has others of the name. Nothing but a loss has a `backward`,
and nothing but an optimizer or a model a `zero_grad`.
"""
