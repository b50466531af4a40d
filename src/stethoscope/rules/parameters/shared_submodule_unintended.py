"""One layer object where several were meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Rule
from stethoscope.facts.code import (
    NOWHERE,
    At,
    Call,
    Choice,
    Code,
    Constant,
    Each,
    Group,
    Name,
    Operation,
    Starred,
    Value,
)  # fmt: skip
from stethoscope.facts.expressions import operations_of
from stethoscope.facts.model import Repeated, Structure
from stethoscope.facts.module_classes import DEEPEST, has_weights
from stethoscope.facts.origins import lineage, thing_of
from stethoscope.facts.things import followed, literal
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.lines import fitting, line_of, place_in, quoted
from stethoscope.rules.sites import code, place_at

MOST_PARTS = 4
"""Sums of lists in sums that are looked into."""


def _run(*repeated: Repeated) -> History:
    return tried(structure=Structure(repeated=repeated))


class SharedSubmoduleUnintended(Rule):
    """One layer object stands several times in a container, where several layers were meant.

    ## What it sees
    A `Sequential`, `ModuleList` or `ModuleDict` that holds the same layer, with parameters, in more than one place.
    ## Why it hurts
    `[layer] * 4` is a list of four names of one layer. The network has a quarter of the parameters that it seems to
    have, and every place pulls the same weights in its own direction.
    ## How to fix it
    Make a layer for each place: `[nn.Linear(64, 64) for _ in range(4)]`.
    ## When it is not a fault
    Weights that are shared on purpose, as across the layers of ALBERT or the steps of a recurrence. Call the one
    layer in a loop then, or allow the rule with that reason. Where the line, its condition or its class says so
    (`shared`, `tied`, `recurrent`) it is possible at most; so is a layer that has a name, as a head that all levels
    share, and where it may stand there once: `[layer] * (depth - 1)`.
    ## Sources
    Python documentation, "Sequence Types": items in `s * n` are not copied, they are referenced multiple times.
    Z. Lan et al., "ALBERT", ICLR 2020.
    """

    severity = Severity.WARNING
    on_trial = True
    explains = ("underfitting", "no-gain-over-baseline", "cannot-overfit-batch")

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each container that repeats a layer."""
        structure = seen.preflight.structure
        if structure is None:
            yield self.cannot_tell(seen.preflight.why_not("structure"))
            return
        for repeated in structure.repeated:
            yield self._report(repeated)

    def _report(self, repeated: Repeated) -> Finding:
        times, where = len(repeated.positions), f"`{repeated.container}`" if repeated.container else "the model"
        title = f"{where} holds one {repeated.kind} {times} times, not {times} of them"
        return self.finding(
            title if len(title) <= 72 else f"a container holds one {repeated.kind} {times} times",
            place=place_at(None, module=repeated.container),
            evidence=[
                Evidence(f"different {repeated.kind} at {times} places", 1, times, ", ".join(repeated.positions[:8])),
                Evidence("parameters there", f"{repeated.parameters:,}", f"{times * repeated.parameters:,}"),
            ],
            cause=f"All {times} places refer to the same {repeated.kind}: it was made once, and its name repeated.",
            fixes=["Make a new one for each place:\n" + code(f"[{repeated.kind}(...) for _ in range({times})]")],
            unless="its weights are shared on purpose.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for containers that are given one layer several times."""
        for call in file.calls_of("torch.nn.ModuleList", "torch.nn.Sequential"):
            layer = next((found for value in call.arguments if (found := _shared_layer(file, value)) is not None), None)
            if (
                layer is None
                or _is_a_choice(file, call)
                or _takes_its_place(file, call, layer)
                or _is_filled(file, call)
            ):
                continue
            # A layer that has a name was kept apart for a reason more often.
            is_unsure = (
                isinstance(layer, Name)
                or _says_shared(file, call.at, call.context)
                or any(_may_stand_once(file, value) for value in call.arguments)
            )
            yield self._read(file, call, layer, Sureness.POSSIBLE if is_unsure else Sureness.CERTAIN)
        for value, at, context in _repeated_elsewhere(file):
            layer = _shared_layer(file, value)
            if isinstance(layer, Call):
                is_unsure = _says_shared(file, at, context) or _may_stand_once(file, value)
                yield self._read(file, value, layer, Sureness.POSSIBLE if is_unsure else Sureness.CERTAIN, at)

    def _read(self, file: Code, value: Value, layer: Value, sureness: Sureness, at: At | None = None) -> Finding:
        where = "in one container" if at is None else "in one list"
        what = quoted(file, layer, "one layer")
        return self.finding(
            fitting(f"{what} stands several times {where}", f"one layer stands several times {where}"),
            sureness=sureness,
            place=place_in(file, at or value.at),
            evidence=[Evidence(f"layers made for the list on {line_of(file, value.at)}", 1, "one for each place")],
            cause="Repeating a list repeats the references in it: every place holds the same layer and weights.",
            fixes=["Make one for each place:\n" + code("[nn.Linear(...) for _ in range(n)]")],
            unless="the places are meant to share their weights.",
        )

    bad = Examples(
        lambda: {
            "in a list": _run(Repeated("layers", "Linear", ("0", "1", "2"), 4160)),
            "in the model itself": _run(Repeated("", "Block", ("2", "3"), 12_000)),
            "a long name": _run(
                Repeated("transformer.encoder.residual.layers.of.it", "TransformerEncoderLayer", ("0", "1"), 9)
            ),
        }
    )
    good = Examples(lambda: {"all different": _run(), "not read": tried()})
    bad_code = {
        "a list, repeated": """
            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    self.layers = nn.ModuleList([nn.Linear(3, 3)] * depth)  # bad
            """,
        "part of a longer list": """
            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    layers = [nn.Linear(8, 3)]
                    layers += [nn.Linear(3, 3)] * depth
                    layers += [nn.Linear(3, 1)]
                    self.net = nn.Sequential(*layers)  # bad
            """,
        "given to a module of the project": """
            class Encoder(nn.Module):
                def __init__(self, layers):
                    super().__init__()
                    self.layers = nn.ModuleList(layers)

            class Net(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    self.encoder = Encoder([nn.Linear(3, 3)] * depth)  # bad
            """,
        "a name for each": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first, self.second = [nn.Linear(3, 3)] * 2  # bad
            """,
        "spread out": """
            net = nn.Sequential(*[nn.Sequential(nn.Linear(3, 3), nn.ReLU())] * 4)  # bad
            """,
        "one layer in a comprehension": """
            layer = nn.TransformerEncoderLayer(8, 2)
            layers = nn.ModuleList([layer for _ in range(6)])  # bad
            """,
    }
    good_code = {
        "one head for all, in its own place": """
            class Detector(nn.Module):
                def __init__(self, width, depth):
                    super().__init__()
                    self.head = nn.Linear(width, 4)
                    nn.init.zeros_(self.head.bias)
                    self.head = nn.ModuleList([self.head for _ in range(depth)])

                def forward(self, x):
                    return [head(x) for head in self.head]
            """,
        "shared by choice": """
            class Heads(nn.Module):
                def __init__(self, share, depth):
                    super().__init__()
                    head = nn.Linear(3, 3)
                    if share:
                        self.heads = nn.ModuleList([head for _ in range(depth)])
                    else:
                        self.heads = nn.ModuleList([nn.Linear(3, 3) for _ in range(depth)])
            """,
        "one for each place": """
            layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(6)])
            """,
        "a list of one": """
            class Encoder(nn.Module):
                def __init__(self, layers):
                    super().__init__()
                    self.layers = nn.ModuleList(layers)

            encoder = Encoder([nn.Linear(3, 3)] * 1)
            """,
        "copies": """
            import copy
            from torch import nn

            layer = nn.Linear(3, 3)
            layers = nn.ModuleList([copy.deepcopy(layer) for _ in range(6)])
            """,
        "nothing to share": """
            pools = nn.ModuleList([nn.MaxPool2d(2)] * 3)
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)


        def block():
            return nn.Sequential(nn.Linear(16, 16), nn.Tanh())


        blocks = [block()] * 6  # fix: blocks = [block() for _ in range(6)]
        model = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), *blocks, nn.Linear(16, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for epoch in range(10):
            for rows in torch.randperm(1797).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _shared_layer(code: Code, value: Value | None, depth: int = 0) -> Value | None:
    """The one layer that a list, or a part of it, holds several times: `[layer] * 3`, `[layer for _ in range(3)]`."""
    found, _ = followed(code, value)
    if isinstance(found, Starred):
        found, _ = followed(code, found.value)
    if isinstance(found, Name) and found.binding != NOWHERE and code.bindings[found.binding].how == "augment":
        found = code.bindings[found.binding].value
    if isinstance(found, Operation) and found.operator == "*":
        for one in found.operands:
            if isinstance(one, Group) and one.kind == "list" and len(one.items) == 1:
                return one.items[0] if has_weights(thing_of(code, one.items[0])) else None
    if isinstance(found, Operation) and found.operator == "+" and depth < DEEPEST:
        parts = (_shared_layer(code, one, depth + 1) for one in found.operands)
        return next((one for one in parts if one is not None), None)
    if isinstance(found, Each) and isinstance(found.element, Name) and found.element.binding != NOWHERE:
        binding = code.bindings[found.element.binding]
        inside = any(here.kind == "comprehension" for here in code.around(binding.context))
        if binding.how == "assign" and not inside and has_weights(thing_of(code, found.element)):
            return found.element
    return None


def _repeated_elsewhere(file: Code) -> Iterator[tuple[Value, At, int]]:
    """Repeated lists that are unpacked into names, or given to a module of the project; each with its context."""
    if not any(_is_repeated(file, one) for one in operations_of(file, "*")):
        return
    for binding in file.bindings:
        value = binding.value
        if value is not None and binding.how == "assign" and binding.item == (0,) and _is_repeated(file, value):
            yield value, binding.at, binding.context
    for call in file.calls:
        given = (*call.arguments, *[one for _, one in call.keywords]) if call.keywords else call.arguments
        repeated = [one for one in given if type(one) is Operation and _is_repeated(file, one)]
        made = thing_of(file, call) if repeated else None
        if made is None or made.kind != "module" or made.cls is None or made.made is not call:
            continue
        if not any(home.matches(_COPIES, cls.at) for home, cls in lineage(made)):
            yield repeated[0], call.at, call.context


def _is_repeated(file: Code, value: Value) -> bool:
    """Whether a value is written as a list, times a number that is not 1."""
    return (
        isinstance(value, Operation)
        and value.operator == "*"
        and any(isinstance(one, Group) for one in value.operands)
        and all(literal(file, one) != 1 for one in value.operands)
    )


def _is_a_choice(file: Code, call: Call) -> bool:
    """Whether the other branch of the same condition binds the same name: someone chose to share."""
    mine = next((one for one in file.bindings if one.how == "assign" and one.value is call), None)
    if mine is None:
        return False
    here = next((one for one in file.around(mine.context) if one.kind in ("if", "else")), None)
    return here is not None and any(
        there.kind in ("if", "else") and there.kind != here.kind and there.value == here.value
        for other in file.bindings
        if other.name == mine.name and other.how == "assign" and other.context != mine.context
        for there in file.around(other.context)
    )


def _takes_its_place(file: Code, call: Call, layer: Value) -> bool:
    """Whether a layer with an attribute of its own is replaced by a container of it: one for all places is meant."""
    name = file.text(layer.at)
    return name.startswith("self.") and any(binding.value is call and binding.name == name for binding in file.bindings)


def _is_filled(file: Code, call: Call) -> bool:
    """Whether the places of a container get layers of their own: `self.layers[i] = nn.Linear(...)`."""
    names = [one.name for one in file.bindings if one.value is call]
    return any(file.matches(re.compile(rf"(?<![\w.]){re.escape(one)}\[\w+\]\s*=(?!=)")) for one in names)


_SHARING = re.compile(
    r"iterat(?:ion|ive)|shar(?:e|ing)|\btied?\b|tying|unroll|recurren|albert|universal|siamese|twin|reus(?:e|ing)"
    r"|(?<!['\"])\bsame\b|\bone (?:layer|block)",
    re.I,
)
_COPIES = re.compile(r"copy|clone", re.I)


def _says_shared(file: Code, at: At, context: int) -> bool:
    """Whether a line, one above it, the condition under which it runs, or the name of its class says that weights are
    shared.
    """
    said = list(file.lines[max(0, at.line - 3) : at.line])
    for here in file.around(context):
        if here.kind in ("if", "else") and here.value is not None:
            said.append(file.text(here.value.at))
        if here.kind == "class":
            said += file.lines[here.at.line - 1 : here.at.line + 1]
    return any(_SHARING.search(text) for text in said)


def _may_stand_once(file: Code, value: Value, depth: int = 0) -> bool:
    """Whether a list may be repeated once or never, in part of what is given: `[layer] * (depth - 1)`, of two."""
    found, _ = followed(file, value)
    if isinstance(found, Starred):
        found, _ = followed(file, found.value)
    if isinstance(found, Name) and found.binding != NOWHERE and file.bindings[found.binding].how == "augment":
        found = file.bindings[found.binding].value
    if isinstance(found, Operation) and found.operator in "*+" and depth < MOST_PARTS:
        return any(_is_less(file, one) if found.operator == "*" else _may_stand_once(file, one, depth + 1)
                   for one in found.operands)  # fmt: skip
    source = found.source if isinstance(found, Each) else None
    counts = isinstance(source, Call) and source.name == "builtins.range"
    return counts and isinstance(source, Call) and (len(source.arguments) > 1 or _is_less(file, source.argument(0)))


def _is_less(file: Code, count: Value | None) -> bool:
    """Whether a number may be one: it is 1, a difference, a condition, or what some function gives."""
    found, _ = followed(file, count)
    if isinstance(found, Call):
        return found.name != "builtins.int"
    if isinstance(found, Operation):
        is_difference = found.operator == "-" and len(found.operands) > 1
        return is_difference or found.operator in ("<", ">", "<=", ">=", "==", "!=", "not", "and", "or", "//")
    return isinstance(found, Choice) or (isinstance(found, Constant) and found.value in (0, 1))
