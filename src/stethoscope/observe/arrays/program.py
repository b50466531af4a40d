"""A step of JAX as a list of its operations (its jaxpr, calls inlined), and what can be read off it.

Layers are where a weight meets the data; what a layer feeds, what made the outputs that a loss is given, and which
weights a loss depends on follow from the operations, whatever library the model is written in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jax.extend.core import Literal

MARK = "stethoscope:"
"""Values are marked under such names while a step is traced (`jax.ad_checkpoint.checkpoint_name`)."""
_CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr", "checkpoint": "jaxpr", "remat2": "jaxpr",
}  # fmt: skip
"""Primitives that only call something, and where that is."""
_PASSING = frozenset(
    ("reshape", "convert_element_type", "broadcast_in_dim", "transpose", "copy", "stop_gradient", "name", "squeeze",
     "expand_dims", "reduce_precision", "sharding_constraint", "optimization_barrier")
)  # fmt: skip
"""Operations that hand on what they are given."""
_NAMED = {"relu": "relu", "sigmoid": "sigmoid", "softmax": "softmax", "_softmax": "softmax", "tanh": "tanh",
          "log_softmax": "log_softmax", "relu6": "relu", "silu": "silu", "gelu": "gelu", "elu": "elu",
          "leaky_relu": "leaky_relu", "softplus": "softplus", "log_sigmoid": "log_sigmoid"}  # fmt: skip
_PRIMITIVES = {"tanh": "tanh", "logistic": "sigmoid"}
_PRODUCTS = ("dot_general", "conv_general_dilated")
_SCALING = ("div", "mul")
_ELEMENTWISE = ("add", "sub", "mul", "div", "select_n", "add_any")
_LOOPS = ("scan", "while", "cond", "shard_map")
MOST_FOLLOWED = 64
MOST_OPERATIONS = 200_000


@dataclass(frozen=True)
class Constant:
    """A value that is written into the program."""

    value: Any


Atom = int | Constant


@dataclass(frozen=True)
class Operation:
    """One call of a primitive."""

    name: str
    equation: Any
    inputs: tuple[Atom, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Activation:
    """A function between layers."""

    name: str
    given: Atom
    made: Atom


@dataclass
class LayerRead:
    """A weight that meets data, in the order of execution."""

    weight: int
    """Number of the program's input that is the weight."""
    kind: str
    out: int
    given: Atom
    bias: int = -1
    feeds: str = ""


@dataclass
class Program:
    """The operations of a step; values are numbered, the program's inputs first."""

    num_inputs: int
    operations: list[Operation] = field(default_factory=list)
    activations: list[Activation] = field(default_factory=list)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    outputs: tuple[Atom, ...] = ()
    marks: dict[str, int] = field(default_factory=dict)
    """Name of a mark, without its beginning, to the value it stands at."""

    def __post_init__(self) -> None:
        self._maker: dict[int, int] = {}
        self._users: dict[int, list[int]] = {}

    def finish(self) -> None:
        """Index what makes and uses each value."""
        for place, operation in enumerate(self.operations):
            for value in operation.outputs:
                self._maker[value] = place
            for atom in operation.inputs:
                if not isinstance(atom, Constant):
                    self._users.setdefault(atom, []).append(place)
            name = str(operation.equation.params.get("name", "")) if operation.name == "name" else ""
            if name.startswith(MARK):
                self.marks.setdefault(name.removeprefix(MARK), operation.outputs[0])
            if operation.name in _PRIMITIVES:
                made = _PRIMITIVES[operation.name]
                self.activations.append(Activation(made, operation.inputs[0], operation.outputs[0]))
            elif operation.name == "max" and any(_is_zero(atom) for atom in operation.inputs):
                given = next((atom for atom in operation.inputs if not _is_zero(atom)), operation.inputs[0])
                self.activations.append(Activation("relu", given, operation.outputs[0]))

    def maker(self, atom: Atom) -> Operation | None:
        """The operation that made a value; None for inputs and constants."""
        place = None if isinstance(atom, Constant) else self._maker.get(atom)
        return None if place is None else self.operations[place]

    def origin(self, atom: Atom) -> Atom:
        """The value that was handed on to become this one."""
        while (made := self.maker(atom)) is not None and made.name in _PASSING:
            place = made.outputs.index(atom) if isinstance(atom, int) and len(made.outputs) > 1 else 0
            atom = made.inputs[place]
        return atom

    def uses(self, value: int) -> Iterable[Operation]:
        """The operations that take a value, or what it is handed on as, in order."""
        waiting, seen = [value], {value}
        found: set[int] = set()
        while waiting:
            for place in self._users.get(waiting.pop(), ()):
                operation = self.operations[place]
                if operation.name in _PASSING:
                    new = [out for out in operation.outputs if out not in seen]
                    seen.update(new)
                    waiting.extend(new)
                else:
                    found.add(place)
        return [self.operations[place] for place in sorted(found)]

    def depends_on(self, atom: Atom) -> set[int]:
        """The program's inputs that a value is computed from."""
        needed, _ = self.needed_for([atom])
        return {value for value in needed if value < self.num_inputs}

    def needed_for(self, atoms: Iterable[Atom]) -> tuple[set[int], list[Operation]]:
        """The values and operations, in order, that these are computed from."""
        needed = {atom for atom in atoms if not isinstance(atom, Constant)}
        kept = []
        for operation in reversed(self.operations):
            if needed.intersection(operation.outputs):
                needed.update(atom for atom in operation.inputs if not isinstance(atom, Constant))
                kept.append(operation)
        return needed, kept[::-1]

    def layers(self, weights: Sequence[int]) -> list[LayerRead]:
        """Where these inputs first meet data."""
        known = set(weights)
        found: dict[int, LayerRead] = {}
        for operation in self.operations:
            if operation.name not in (*_PRODUCTS, "gather"):
                continue
            origins = [self.origin(atom) for atom in operation.inputs[:2]]
            for place, origin in enumerate(origins):
                if isinstance(origin, Constant) or origin not in known or origin in found:
                    continue
                if len(self.shapes[origin]) < 2 or (operation.name == "gather" and place):
                    continue
                found[origin] = self._layer(operation, origin, origins[1 - place], known)
        return list(found.values())

    def _layer(self, operation: Operation, weight: int, given: Atom, known: set[int]) -> LayerRead:
        axes = len(self.shapes[weight]) - 2
        kind = {"gather": "Embedding", "dot_general": "Linear"}.get(operation.name, f"Conv{axes}d")
        layer = LayerRead(weight, kind, operation.outputs[0], given)
        for use in self.uses(layer.out):
            other = [self.origin(atom) for atom in use.inputs]
            bias = [o for o in other if not isinstance(o, Constant) and o in known and o != weight]
            if use.name == "add" and bias:
                layer.out, layer.bias = use.outputs[0], bias[0]
            break
        layer.feeds = self.fed_to(layer.out)
        return layer

    def fed_to(self, value: int) -> str:
        """The activation that a value goes into; empty when none is known, or when it is what a loss is given."""
        ends = {self.origin(mark) for name, mark in self.marks.items() if name.endswith(":output")}
        if self.origin(value) in ends:
            return ""
        return next((a.name for a in self.activations if value in (a.given, self.origin(a.given))), "")

    def made_by(self, atom: Atom) -> str:
        """The activation whose result a value is: `softmax`, `sigmoid`, ...; empty for any other."""
        source = self.origin(atom)
        for activation in self.activations:
            if self.origin(activation.made) == source:
                return activation.name
        made = self.maker(source)
        if made is None:
            return ""
        if made.name == "div" and self._is("exp", made.inputs[0]) and self._sums("exp", made.inputs[1]):
            return "softmax"
        if made.name == "sub" and (log := self.maker(self.origin(made.inputs[1]))) is not None and log.name == "log":
            return "log_softmax" if self._sums("exp", log.inputs[0]) else ""
        return ""

    def is_new_value_of(self, atom: Atom, number: int) -> bool:
        """Whether a value is one of the program's inputs with something added, as a weight is after its update."""
        waiting, seen = [atom], 0
        while waiting and seen < MOST_FOLLOWED:
            seen += 1
            source = self.origin(waiting.pop(0))
            if source == number:
                return True
            made = self.maker(source)
            if made is not None and (made.name in _ELEMENTWISE or made.name in _LOOPS):
                waiting.extend(made.inputs)
        return False

    def _is(self, name: str, atom: Atom) -> bool:
        made = self.maker(self.origin(atom))
        return made is not None and made.name == name

    def _sums(self, name: str, atom: Atom) -> bool:
        made = self.maker(self.origin(atom))
        if made is not None and made.name == "abs":  # logsumexp takes the logarithm of a magnitude
            made = self.maker(self.origin(made.inputs[0]))
        return made is not None and made.name == "reduce_sum" and self._is(name, made.inputs[0])

    def squared_error(self, loss: Atom) -> tuple[Atom, Atom] | None:
        """The two sides of a loss that is a mean of squared differences, written by hand; None for any other."""
        atom = self.origin(loss)
        summed = False
        while (made := self.maker(atom)) is not None:
            if made.name == "reduce_sum":
                summed, atom = True, self.origin(made.inputs[0])
            elif made.name in _SCALING and isinstance(self.origin(made.inputs[1]), Constant):
                atom = self.origin(made.inputs[0])
            else:
                break
        if made is None or not summed:
            return None
        power = made.equation.params.get("y") if made.name == "integer_pow" else None
        twice = made.name == "mul" and made.inputs[0] == made.inputs[1]
        if power != 2 and made.name != "square" and not twice:
            return None
        less = self.maker(self.origin(made.inputs[0]))
        if less is None or less.name != "sub":
            return None
        return self._before_broadcast(less.inputs[0]), self._before_broadcast(less.inputs[1])

    def _before_broadcast(self, atom: Atom) -> Atom:
        """A side of a difference as it was before it was stretched to the shape of the other one."""
        made = self.maker(atom)
        if made is None or made.name != "broadcast_in_dim" or isinstance(made.inputs[0], Constant):
            return atom
        given = made.inputs[0]
        widened = self.maker(given)
        if widened is not None and widened.name in ("broadcast_in_dim", "reshape"):
            inner = widened.inputs[0]
            if not isinstance(inner, Constant) and len(self.shapes[inner]) < len(self.shapes[given]):
                return inner
        return given


def _is_zero(atom: Atom) -> bool:
    if not isinstance(atom, Constant) or getattr(atom.value, "shape", ()) != ():
        return False
    try:
        return float(atom.value) == 0.0
    except (TypeError, ValueError):
        return False


def read(closed: Any) -> Program:
    """The operations of a jaxpr with all calls inlined.

    Raises:
        ValueError: there are too many.
    """
    numbers = itertools.count()
    jaxpr = closed.jaxpr
    inputs = [next(numbers) for _ in jaxpr.invars]
    program = Program(len(inputs))
    for variable, number in zip(jaxpr.invars, inputs, strict=True):
        program.shapes[number] = tuple(getattr(variable.aval, "shape", ()))

    def walk(jaxpr: Any, constants: Sequence[Any], given: Sequence[Atom]) -> list[Atom]:
        known: dict[Any, Atom] = dict(zip(jaxpr.invars, given, strict=True))
        known.update(zip(jaxpr.constvars, (Constant(value) for value in constants), strict=True))

        def atom(variable: Any) -> Atom:
            return Constant(variable.val) if isinstance(variable, Literal) else known[variable]

        for equation in jaxpr.eqns:
            name = equation.primitive.name
            taken = tuple(atom(variable) for variable in equation.invars)
            inner = equation.params.get(_CALLS.get(name, ""))
            if inner is not None:
                closed_inner = hasattr(inner, "consts")
                made = walk(inner.jaxpr if closed_inner else inner, inner.consts if closed_inner else (), taken)
                known.update(zip(equation.outvars, made, strict=True))
                called = _NAMED.get(str(equation.params.get("name", "")))
                if called and len(made) >= 1 and taken:
                    program.activations.append(Activation(called, taken[0], made[0]))
                continue
            if len(program.operations) >= MOST_OPERATIONS:
                raise ValueError("the step has too many operations")
            outputs = []
            for variable in equation.outvars:
                number = next(numbers)
                outputs.append(number)
                known[variable] = number
                program.shapes[number] = tuple(getattr(variable.aval, "shape", ()))
            program.operations.append(Operation(name, equation, taken, tuple(outputs)))
        return [atom(variable) for variable in jaxpr.outvars]

    program.outputs = tuple(walk(jaxpr, closed.consts, inputs))
    program.finish()
    return program


def values_of(program: Program, wanted: Sequence[int], operations: Sequence[Operation], given: Sequence[Any]) -> Any:
    """Compute these values from the program's inputs: to be called while tracing."""
    known: dict[int, Any] = dict(enumerate(given))
    for operation in operations:
        taken = [atom.value if isinstance(atom, Constant) else known[atom] for atom in operation.inputs]
        parameters = operation.equation.primitive.get_bind_params(operation.equation.params)
        functions, parameters = parameters if isinstance(parameters, tuple) else ((), parameters)  # before JAX 0.10
        with operation.equation.ctx.manager:
            made = operation.equation.primitive.bind(*functions, *taken, **parameters)
        many = operation.equation.primitive.multiple_results
        known.update(zip(operation.outputs, made if many else (made,), strict=True))
    return [known[value] for value in wanted]
