"""Two squashing activations in a row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.bounded import FORMING, PRODUCTS
from stethoscope.facts.code import NOWHERE, At, Attribute, Call, Code, Item, Name, Operation, Value
from stethoscope.facts.layers import ACTIVATIONS, LINEAR, Output, layers_in, output_of, short
from stethoscope.facts.origins import called
from stethoscope.facts.ranking import is_ranked_only
from stethoscope.facts.things import MOST_STEPS, UNKNOWN, Step, followed, literal
from stethoscope.rules.lines import chain, fitting, line_of, place_in
from stethoscope.rules.sites import code

_RANGES = {
    ("relu", "sigmoid"): "0.5 to 1",
    ("softplus", "sigmoid"): "0.5 to 1",
    ("softmax", "sigmoid"): "0.5 to 0.73",
    ("sigmoid", "sigmoid"): "0.5 to 0.73",
    ("tanh", "sigmoid"): "0.27 to 0.73",
    ("tanh", "tanh"): "-0.76 to 0.76",
    ("sigmoid", "softmax"): "of 10 classes 0.04 to 0.23",
    ("softmax", "softmax"): "of 10 classes 0.08 to 0.23",
    ("sigmoid", "log_softmax"): "of 10 classes 0.04 to 0.23",
    ("softmax", "log_softmax"): "of 10 classes 0.08 to 0.23",
}
"""What the second can give after the first; where it is the whole range, nothing is lost."""
_WHOLE = {"sigmoid": "0 to 1", "tanh": "-1 to 1", "softmax": "0 to 1", "log_softmax": "0 to 1"}
_LAYERS = ("Sigmoid", "Hardsigmoid", "Tanh", "Softmax", "Softmin")
"""What the classes of those are called, or a part of it."""
_SHOWN = {"log_softmax": "log-softmax", "relu": "ReLU"}


class DoubleActivation(Rule):
    """An activation squashes what another has squashed, so that part of its range is out of reach.

    ## What it sees
    A sigmoid, tanh or softmax right after a ReLU, sigmoid, tanh or softmax: as neighbours in a `Sequential`, or one
    called with what the other gave.
    ## Why it hurts
    The sigmoid of a ReLU is never below 0.5, a softmax of probabilities is close to uniform. The model cannot say
    no, or cannot be sure, and gradients shrink twice.
    ## How to fix it
    Keep one of the two: the last one gets the linear layer's output.
    ## When it is not a fault
    A range that is meant to be narrow. A leaky ReLU or a GELU before a softmax, as in graph attention, is not reported,
    nor one of which only the largest is taken; two different ones, a softmax that weighs a sum, as over the hops of a
    graph, or one along another axis are possible at most. So is one of what no layer is seen to give, as in the formula
    of an activation or a function that sharpens what it is given, and one that goes on in each round of a loop.
    ## Sources
    A. Nikanjam et al., "NeuraLint: Automatic Fault Detection for Deep Learning Programs", TOSEM 2021, rule 3;
    A. Karpathy, "Most common neural net mistakes", 2018. `saturated-activations` and `vanishing-gradients` see its
    effects in a run.
    """

    severity = Severity.WARNING
    on_trial = True
    explains = (
        "loss-not-at-chance", "vanishing-gradients", "underfitting", "no-gain-over-baseline", "loss-not-decreasing",
    )  # fmt: skip

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at neighbours in chains, and at activations that are called with one's answer."""
        if not file.says("igmoid", "oftmax", "anh"):
            return
        told: set[At] = set()
        for made in file.calls_of("torch.nn.Sequential"):
            layers = [one for one in layers_in(file, made) or () if "dropout" not in one.kind]
            for before, layer in pairwise(layers):
                kinds = _kind(before.thing.name), _kind(layer.thing.name)
                if (
                    kinds in _RANGES
                    and layer.call is not None
                    and layer.call.at not in told
                    and before.call is not None
                ):
                    told.add(layer.call.at)
                    step = Step(file.file, before.call.at, f"{_named(kinds[0])} comes before it")
                    axes = [literal(one.code, one.call.argument(0, "dim")) for one in (before, layer) if one.call]
                    is_meant = axes[0] != axes[1]
                    yield self._report(file, layer.call.at, kinds, (step,), is_meant=is_meant)
        has_layers = file.and_linked_say(*_LAYERS)
        for call in file.calls:
            kind, operand = _applied(file, call, has_layers)
            if not kind or operand is None:
                continue
            first = output_of(file, operand)
            is_found = (first.kind, kind) in _RANGES and first.made is not call and call.at not in told
            if is_found and not is_ranked_only(file, call):
                told.add(call.at)
                is_meant = (
                    (kind == "softmax" and _weighs(file, call))
                    or _is_of_another_axis(file, call, first)
                    or isinstance(_unformed(file, operand), Item)
                    or _is_formula(file, call, first)
                )
                yield self._report(file, call.at, (first.kind, kind), first.steps, is_meant=is_meant)

    def _report(
        self, file: Code, at: At, kinds: tuple[str, str], steps: tuple[Step, ...], *, is_meant: bool = False
    ) -> Finding:
        first, second = (_named(kind) for kind in kinds)
        return self.finding(
            fitting(f"{second} is applied to what {first} has squashed"),
            # A gate that stays above a half may be meant, and attention that cannot be sharp; the same twice is a slip.
            sureness=Sureness.LIKELY if _is_the_same(kinds) and not is_meant else Sureness.POSSIBLE,
            place=place_in(file, at),
            evidence=[
                Evidence(
                    f"what the {second} on {line_of(file, at)} can give" + (
                        ", as probabilities" if kinds[1] == "log_softmax" else ""
                    ),
                    _RANGES[kinds], _WHOLE[kinds[1]], f"of what {first} gives",
                )
            ],
            cause=f"{_an(first)} before {_an(second, lower=True)} leaves it a part of its range only.",
            fixes=[f"Keep the {second}, and give it the linear layer's output:\n" + code("x = self.fc(x)")],
            unless="the range is meant to be narrow.",
            chain=chain(file, steps),
        )  # fmt: skip

    bad_code = {
        "in a chain": """
            net = nn.Sequential(
                nn.Linear(8, 8),
                nn.ReLU(),
                nn.Linear(8, 1),
                nn.ReLU(),
                nn.Dropout(0.1),
                nn.Sigmoid(),  # bad
            )
            """,
        "by calls": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(8, 4)
                    self.softmax = nn.Softmax(dim=1)

                def forward(self, x):
                    x = torch.sigmoid(self.fc(x))
                    return self.softmax(x)  # bad

            def answer(net: Net, x):
                return F.log_softmax(F.softmax(net.fc(x), dim=1), dim=1)  # bad
            """,
    }
    good_code = {
        "one of each": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(8, 8)
                    self.out = nn.Linear(8, 1)
                    self.net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Tanh())

                def forward(self, x):
                    x = F.relu(self.fc(x))
                    return torch.sigmoid(self.out(x))
            """,
        "attention over a graph": """
            class Attention(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.a = nn.Linear(8, 1)

                def forward(self, x, adjacency):
                    scores = F.leaky_relu(self.a(x))
                    weights = F.softmax(scores, dim=1)
                    return torch.sigmoid(weights @ x), F.softmax(F.relu(adjacency @ adjacency.T), dim=1)
            """,
    }


def _is_the_same(kinds: tuple[str, str]) -> bool:
    """Whether an activation is applied twice; a log-softmax is a softmax."""
    return kinds[0] == kinds[1].removeprefix("log_")


def _kind(name: str) -> str:
    return ACTIVATIONS.get(short(name), "") if name.startswith("torch.nn.") and short(name) not in LINEAR else ""


def _applied(file: Code, call: Call, has_layers: bool) -> tuple[str, Value | None]:
    """The activation that a call applies, and to what; by a layer only where there may be any."""
    if call.receiver is None:
        name = short(call.name)
        is_function = call.name in (f"torch.{name}", f"torch.nn.functional.{name}") and name in _WHOLE
        return (name, call.argument(0, "input")) if is_function else ("", None)
    if call.name in (".sigmoid", ".tanh", ".softmax", ".log_softmax") and called(file, call).kind == "unknown":
        return call.name[1:], call.receiver
    layer = called(file, call) if has_layers else UNKNOWN
    kind = _kind(layer.name) if layer.kind == "module" and layer.cls is None else ""
    return (kind, call.argument(0)) if kind in _WHOLE else ("", None)


def _weighs(file: Code, softmax: Call) -> bool:
    """Whether the shares of a softmax are a factor in the same function: then they weigh a sum, as in attention."""
    index = file.function_at(softmax.context)
    function = file.functions[index]
    values = [one.value for one in file.bindings[slice(*function.bindings)]]
    values += [one.value for one in function.returns]
    factors = list[Value]()
    for call in file.calls[slice(*function.calls)]:
        given = [one for one in (call.receiver, *call.arguments) if one is not None]
        values += given
        factors += given if call.name in _FACTORS else []
    for value in values:
        if isinstance(value, Operation) and value.operator in ("*", "@"):
            factors += value.operands
    return any(_unformed(file, one) is softmax for one in factors)


def _is_formula(file: Code, squashing: Call, first: Output) -> bool:
    """Whether an activation is applied again in a loop, or to what no layer gives, as in `tanh(tanh(x / 2))`."""
    if first.made is None or first.made_in is None:
        return False
    loops = [number for number in file.numbers_around(squashing.context) if file.contexts[number].kind in _LOOPS]
    if first.made_in is file and not set(loops) <= set(file.numbers_around(first.made.context)):
        return True
    operand = _squashed(first.made)
    if operand is None:
        return False
    return output_of(first.made_in, operand).kind == "unknown" and not _holds_answer(first.made_in, operand)


_LOOPS = ("for", "while", "once")


def _squashed(made: Call) -> Value | None:
    """What an activation is applied to, where it is a call and no layer that was made."""
    is_layer = made.receiver is None and made.name.rpartition(".")[2][:1].isupper()
    return None if is_layer else made.argument(0, "input") if not made.name.startswith(".") else made.receiver


def _holds_answer(code: Code, value: Value | None, depth: int = 0) -> bool:
    """Whether a value is made of what a layer or a product of matrices gives, as in `self.fc(x) + h`."""
    if value is None or depth > MOST_STEPS:
        return False
    if isinstance(value, Name) and value.binding != NOWHERE:
        binding = code.bindings[value.binding]
        if binding.how == "merge":
            return any(_holds_answer(code, Name(value.name, one, value.at), depth + 1) for one in binding.options)
        return binding.how in ("assign", "augment") and _holds_answer(code, binding.value, depth + 1)
    if isinstance(value, Operation):
        return value.operator == "@" or any(_holds_answer(code, one, depth + 1) for one in value.operands)
    if isinstance(value, Item):
        return _holds_answer(code, value.value, depth + 1)
    if not isinstance(value, Call):
        return False
    own = value.name.startswith(".") and isinstance(value.receiver, Name | Attribute)
    if value.name in PRODUCTS or value.name == "()" or (own and code.text(value.at).startswith("self.")):
        return True
    if called(code, value).kind in ("module", "loss", "function"):
        return True
    return any(_holds_answer(code, one, depth + 1) for one in (value.receiver, *value.arguments) if one is not None)


def _is_of_another_axis(file: Code, softmax: Call, first: Output) -> bool:
    """Whether two softmaxes go along different axes, as where rows and columns are matched."""
    if first.made is None or first.made_in is None:
        return False
    axes = [_axis(file, softmax), _axis(first.made_in, first.made)]
    return None not in axes and axes[0] != axes[1]


def _axis(code: Code, softmax: Call) -> object:
    return literal(code, softmax.argument(0 if softmax.name.startswith(".") else 1, "dim"))


_FACTORS = PRODUCTS | {"torch.mul", ".mul", ".mul_"}


def _unformed(file: Code, value: Value | None) -> Value | None:
    """What a value was before it was given another form."""
    found, _ = followed(file, value)
    while isinstance(found, Call) and found.name in FORMING:
        found, _ = followed(file, found.receiver)
    return found


def _named(kind: str) -> str:
    return _SHOWN.get(kind, kind)


def _an(name: str, *, lower: bool = False) -> str:
    return f"{'a' if lower else 'A'} {name}"
