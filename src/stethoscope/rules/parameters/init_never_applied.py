"""An initialization of the user's own that never reaches a layer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Call, Code, Function, Group, Name, Operation, Symbol, Value
from stethoscope.facts.module_classes import is_plain_module, layers_inside
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import Thing
from stethoscope.facts.uses import times_said
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

_BY_NAME = re.compile(r"__class__|__name__|hasattr\(|getattr\(|\belse\b.*:|named_parameters|\bpass\b")
_LAYER = re.compile(r"torch\.nn\.(?!Module\b|RNNBase\b|RNNCellBase\b)[A-Z]\w*")
_FILLS = re.compile(r"torch\.nn\.init\.\w+_")


class InitNeverApplied(Rule):
    """The model's own initialization never reaches a layer, so that PyTorch's default stays.

    ## What it sees
    `model.apply(init)` where `init` asks for classes of layers of which the model has none; and a method or function
    that fills weights by `nn.init`, in the script that trains, which no line calls.
    ## Why it hurts
    The weights keep their default values, as if the initialization had not been written. Training may be slower or
    worse than what the code says, and nothing fails.
    ## How to fix it
    Ask for the classes that the model has, or call the method at the end of `__init__`.
    ## When it is not a fault
    An initialization that is kept for other models. A name that other lines mention is not reported.
    ## Sources
    PyTorch documentation, `torch.nn.Module.apply`. N. Humbatova et al., "Taxonomy of Real Faults in Deep Learning
    Systems", ICSE 2020: wrong weights initialization. `badly-scaled-initialization` measures what the weights are.
    """

    severity = Severity.WARNING
    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at what `apply` is given, and for functions that fill weights and are never named again."""
        for call in file.calls_of(".apply"):
            yield from self._judge_apply(file, call)
        if file.says(".backward("):
            for number, function in enumerate(file.functions[1:], 1):
                if self._is_left(file, number, function):
                    yield self._report_left(file, function)

    def _judge_apply(self, file: Code, call: Call) -> Iterator[Finding]:
        model = thing_of(file, call.receiver)
        given = thing_of(file, call.argument(0))
        if model.kind != "module" or given.function is None or given.code is None or len(call.arguments) != 1:
            return
        asked = _asked(given.code, given.function)
        held = layers_inside(model) if asked else None
        if not asked or held is None or not held or asked & held:
            return
        classes = ", ".join(f"`{name.rpartition('.')[2]}`" for name in sorted(asked)[:3])
        yield self.finding(
            fitting(f"`apply({given.function.name})` matches none of the model's layers",
                    "the function given to `apply` matches no layer of the model"),
            sureness=Sureness.LIKELY,
            place=place_in(file, call.at),
            evidence=[
                Evidence(f"kinds of layers in the model that the function on {line_of(given.code, given.function.at)} "
                         "asks for", 0, "1 at least", f"it asks for {classes}")
            ],
            cause="`apply` calls the function with every layer, and it acts on none: the default values stay.",
            fixes=[
                "Ask for a class that the model has:\n"
                + code(f"isinstance(module, nn.{_shown(held)})")
            ],
            chain=(Link(place_in(given.code, given.function.at), "asks for the classes"),),
        )  # fmt: skip

    def _is_left(self, file: Code, number: int, function: Function) -> bool:
        fills = any(_FILLS.fullmatch(call.name) for call in file.calls[slice(*function.calls)])
        if not fills or function.name.startswith("_") or function.decorators:
            return False
        if times_said(file, function.name) != 1:
            return False
        if any(re.search(rf"[.'\"]{re.escape(function.name)}\b", line.partition("#")[0]) for line in file.lines):
            return False
        owner = function.owner
        if owner == NOWHERE:
            return file.contexts[function.context].parent == 0 and bool(_asked(file, function))
        cls = file.classes[owner]
        is_made = any(thing_of(file, call).cls is cls for call in file.calls)
        return is_made and is_plain_module(Thing("class", cls.name, file, owner))

    def _report_left(self, file: Code, function: Function) -> Finding:
        name, is_method = function.name, function.owner != NOWHERE
        return self.finding(
            fitting(f"`{name}` fills the weights, and no line calls it", "what fills the weights is never called"),
            sureness=Sureness.LIKELY,
            place=place_in(file, function.at._replace(end_line=function.at.line, end_column=function.at.column)),
            evidence=[Evidence(f"calls of what {line_of(file, function.at)} defines", 0, 1)],
            cause="The weights keep PyTorch's default values.",
            fixes=[
                "Call it " + ("at the end of `__init__`:\n" if is_method else "once the model is made:\n")
                + code(f"self.{name}()" if is_method else f"model.apply({name})")
            ],
            unless="another file calls it.",
        )  # fmt: skip

    bad_code = {
        "another class": """
            def init(module):
                if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                    nn.init.kaiming_normal_(module.weight)

            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))

                def forward(self, x):
                    return self.body(x)

            net = Net()
            net.apply(init)  # bad
            """,
        "never called": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(8, 2)

                def init_weights(self):  # bad
                    nn.init.xavier_uniform_(self.fc.weight)

                def forward(self, x):
                    return self.fc(x)

            net = Net()
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            net(torch.zeros(1, 8)).sum().backward()
            optimizer.step()
            """,
    }
    good_code = {
        "applied": """
            def init(module):
                if type(module) == nn.Linear:
                    nn.init.kaiming_normal_(module.weight)

            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(8, 2)
                    self.init_weights()

                def init_weights(self):
                    self.apply(init)
                    nn.init.zeros_(self.fc.bias)

            net = Net()
            net(torch.zeros(1, 8)).sum().backward()
            """,
        "by the name of the class, or a model that is not known": """
            from models import make, Block

            def by_name(module):
                if module.__class__.__name__.find("Conv") != -1:
                    nn.init.normal_(module.weight)

            def init(module):
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight)

            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.block = Block(8)

            nn.Linear(2, 2).apply(by_name)
            make().apply(init)
            Net().apply(init)
            nn.Sequential(nn.Linear(2, 2), Block(3)).apply(init)
            """,
        "kept for others": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(8, 2)

                def init_weights(self):
                    nn.init.xavier_uniform_(self.fc.weight)
            """,
    }


def _asked(file: Code, function: Function) -> set[str]:
    """The classes of layers that a function acts on; empty where it does not ask so, or may act on others."""
    if not function.parameters or file.matches(_BY_NAME, function.at):
        return set()
    name = function.parameters[0].name
    asked: list[Value] = []
    for call in file.calls[slice(*function.calls)]:
        if call.name == "builtins.isinstance" and _is(call.argument(0), name):
            asked += _items(call.argument(1))
        elif call.name == "builtins.type" and _is(call.argument(0), name):
            conditions = [here.value for here in file.contexts if here.kind == "if" and _holds(here.value, call)]
            asked += [one for value in conditions if isinstance(value, Operation) for one in _items(value.operands[-1])]
            if not conditions:
                return set()
    fills = [call for call in file.calls[slice(*function.calls)] if _FILLS.fullmatch(call.name)]
    if not fills or any(_outside(file, call) for call in fills):
        return set()
    names = {one.name for one in asked if isinstance(one, Symbol)}
    known = len(names) and all(isinstance(one, Symbol) and _LAYER.fullmatch(one.name) for one in asked)
    return names if known else set()


def _holds(value: Value | None, call: Call) -> bool:
    is_test = isinstance(value, Operation) and value.operator in ("==", "in", "is") and len(value.operands) == 2
    return is_test and isinstance(value, Operation) and value.operands[0] is call


def _outside(file: Code, call: Call) -> bool:
    """Whether a call is made under no condition."""
    for here in file.around(call.context):
        if here.kind in ("if", "else"):
            return False
        if here.kind in ("function", "module"):
            break
    return True


def _items(value: Value | None) -> list[Value]:
    if value is None:
        return []
    return list(value.items) if isinstance(value, Group) else [value]


def _is(value: Value | None, name: str) -> bool:
    return isinstance(value, Name) and value.name == name


def _shown(held: set[str]) -> str:
    """A layer of the model worth naming."""
    names = sorted(name.rpartition(".")[2] for name in held)
    return next((name for name in names if name.startswith(("Linear", "Conv", "Embedding"))), names[0])
