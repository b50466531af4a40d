"""A probe: a second program, compiled once for each shape, that computes what is to be seen of a step and nothing else.

The user's own step is run as it is. The probe is given the same arguments, reads the values in between off a copy of
the step, and reduces them where they lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from stethoscope.observe.arrays.marks import Compared, Notes, marking
from stethoscope.observe.arrays.program import Atom, Constant, Program, read, values_of
from stethoscope.observe.arrays.pytrees import Taken
from stethoscope.observe.training.looks import VALUES_FOR_UNITS, VALUES_PER_PARAMETER
from stethoscope.observe.training.sampling import coprime_stride

MOST_VALUES = 1 << 22
"""Values of inputs, outputs and targets that are brought over at a look."""
MOST_ROWS = 2048
MOST_LAYERS = 128


class Unreadable(Exception):
    """Why a step cannot be read, as a clause."""


@dataclass(frozen=True)
class Found:
    """Where the parameters are."""

    given: dict[str, int]
    """Path to the number of the array."""
    returned: dict[str, int]
    """Path to the number of the leaf that is returned; empty where the step changes a model."""


@dataclass(frozen=True)
class LayerPart:
    """A layer as the program shows it."""

    name: str
    kind: str
    feeds: str
    shape: tuple[int, ...]
    parameters: tuple[str, ...]
    fed_input: bool


@dataclass
class Seen:
    """What one run of the probe gave, as arrays that may still be on their way."""

    inputs: Any = None
    loss: Any = None
    compared: dict[int, tuple[Any, Any, Any]] = field(default_factory=dict)
    """By number of the call: outputs, targets, what it returned."""
    layers: dict[int, Any] = field(default_factory=dict)
    gradients: dict[str, Any] = field(default_factory=dict)


@dataclass
class Probe:
    """One traced step."""

    run: Callable[[list[Any]], dict[str, Any]]
    notes: Notes
    layers: list[LayerPart]
    makers: dict[int, str]
    compared: dict[int, Compared]
    reached: set[str]
    """Parameters that the loss depends on."""
    knows_reach: bool
    has_random: bool
    returns_weights: bool
    """Whether what it returns in the shape of the parameters are new parameters, and not gradients."""
    program: Program
    num_returned: int
    """Outputs of the program that the step returns; behind them come the arrays of models that it changes."""
    gradients: list[str] = field(default_factory=list)

    def see(self, taken: Taken) -> Seen:
        """Compute everything that is to be seen of a call."""
        got = self.run(taken.arrays)
        return Seen(
            inputs=got.get("inputs"),
            loss=got.get("loss"),
            compared={
                number: (got[f"{number}:output"], got.get(f"{number}:target"), got.get(f"{number}:result"))
                for number in self.compared
            },
            layers={number: got[f"layer {number}"] for number in range(len(self.layers)) if f"layer {number}" in got},
            gradients={name: got[f"gradient {name}"] for name in self.gradients},
        )


def trace(step: Callable[..., Any], taken: Taken, weights: Callable[[Any], Found]) -> Probe:
    """Read a step.

    Args:
        step: the user's.
        taken: the arguments of a call of it.
        weights: given the shapes of the result, says where the parameters are.

    Raises:
        Unreadable: the step does something besides computing, or cannot be traced.
    """
    notes = Notes()

    def call(arrays: list[Any]) -> Any:
        args, kwargs = taken.rebuild(arrays)
        result = step(*args, **kwargs)
        return result, taken.changed(args, kwargs)

    try:
        with marking(notes):
            closed, (result, _) = jax.make_jaxpr(call, return_shape=True)(taken.arrays)
        program = read(closed)
    except Exception as error:
        words = str(error).strip().splitlines()
        raise Unreadable(f"tracing it gave {type(error).__name__}: {words[0][:100] if words else ''}") from error
    if closed.effects:
        raise Unreadable("it prints or calls back while it computes, and a look would do so again")
    return _probe(program, notes, weights(result), taken, len(jax.tree_util.tree_leaves(result)))


def _probe(program: Program, notes: Notes, found: Found, taken: Taken, num_returned: int) -> Probe:
    weights = found.given
    names = {number: name for name, number in weights.items()}
    read_layers = program.layers(list(names))[:MOST_LAYERS]
    wanted: dict[str, Atom] = {}
    marks = program.marks
    if "loss" in marks:
        wanted["loss"] = marks["loss"]
    compared = {n: call for n, call in enumerate(notes.losses) if f"{n}:output" in marks}
    for number in compared:
        for part in ("output", "target", "result"):
            if f"{number}:{part}" in marks:
                wanted[f"{number}:{part}"] = marks[f"{number}:{part}"]
    if not compared and "loss" in marks:
        compared = _by_hand(program, notes, set(names), marks["loss"], wanted)
    makers = {number: program.made_by(wanted[f"{number}:output"]) for number in compared}
    first = next((layer for layer in read_layers if _is_data(program, layer.given, set(names))), None)
    if first is not None:
        wanted["inputs"] = first.given
    layers = []
    for number, layer in enumerate(read_layers):
        wanted[f"layer {number}"] = layer.out
        own = tuple(names[n] for n in (layer.weight, layer.bias) if n in names)
        shown = _layer_name(own[0], [names[each.weight] for each in read_layers])
        kind = taken.kinds.get(shown, layer.kind) if layer.kind == "Linear" else layer.kind
        shape = program.shapes[layer.out]
        layers.append(LayerPart(shown, kind, layer.feeds, shape, own, layer is first))
    gradients = _gradients(notes, weights, marks, wanted)
    ends = [marks["loss"]] if "loss" in marks else [wanted[f"{n}:output"] for n in compared]
    reached = {names[n] for end in ends for n in program.depends_on(end) if n in names}
    random = any("random" in operation.name or "threefry" in operation.name for operation in program.operations)
    outputs = program.outputs
    kept = [program.is_new_value_of(outputs[number], weights[name]) for name, number in found.returned.items()]
    returns = not found.returned or any(kept)
    return Probe(
        _compiled(program, wanted), notes, layers, makers, compared, reached, bool(ends), random, returns, program,
        num_returned, gradients,
    )  # fmt: skip


def _is_data(program: Program, atom: Atom, weights: set[int]) -> bool:
    return not isinstance(atom, Constant) and not program.depends_on(atom) & weights


def _by_hand(
    program: Program, notes: Notes, weights: set[int], loss: int, wanted: dict[str, Atom]
) -> dict[int, Compared]:
    """A mean of squares that the user wrote out."""
    sides = program.squared_error(loss)
    if sides is None:
        return {}
    output, target = sides
    if _is_data(program, output, weights):
        output, target = target, output
    if not _is_data(program, target, weights) or _is_data(program, output, weights):
        return {}
    wanted["0:output"], wanted["0:target"] = output, target
    return {0: Compared("", notes.differentiated_at, False)}


def _gradients(notes: Notes, weights: dict[str, int], marks: dict[str, int], wanted: dict[str, Atom]) -> list[str]:
    """Ask for the gradient of each parameter, as the optimizer is given it, or as it was taken."""
    kind = "gradient" if any(name.startswith("gradient:") for name in marks) else "derivative"
    found = {}
    for number, path in enumerate(notes.gradients):
        if f"{kind}:{number}" in marks:
            alike = [name for name in weights if name == path or name.endswith(f".{path}") or path.endswith(f".{name}")]
            if len(alike) == 1:
                found[alike[0]] = marks[f"{kind}:{number}"]
    if len(found) < len(weights) == len(notes.gradients):  # other names, the same order
        ordered = [marks.get(f"{kind}:{number}") for number in range(len(weights))]
        found = {name: mark for name, mark in zip(weights, ordered, strict=True) if mark is not None}
    wanted.update({f"gradient {name}": mark for name, mark in found.items()})
    return list(found)


def _layer_name(weight: str, all_weights: list[str]) -> str:
    """The path of what holds the weight, or the weight's own where others lie there as well."""
    holder = weight.rpartition(".")[0]
    alike = [name for name in all_weights if name.rpartition(".")[0] == holder]
    return holder if holder and len(alike) == 1 else weight


def _compiled(program: Program, wanted: dict[str, Atom]) -> Callable[[list[Any]], dict[str, Any]]:
    constants = {name: atom.value for name, atom in wanted.items() if isinstance(atom, Constant)}
    values = {name: atom for name, atom in wanted.items() if not isinstance(atom, Constant)}
    needed = list(dict.fromkeys(values.values()))
    _, operations = program.needed_for(needed)

    def see(arrays: list[Any]) -> dict[str, Any]:
        found = dict(zip(needed, values_of(program, needed, operations, arrays), strict=True))
        got = {name: found[atom] for name, atom in values.items()} | constants
        return {name: _reduced(name, jnp.asarray(value)) for name, value in got.items()}

    compiled: Callable[[list[Any]], dict[str, Any]] = jax.jit(see)
    return compiled


def _reduced(name: str, value: Any) -> Any:
    """What is brought over of a value: all of a loss's, whole rows of a layer's, a few of a gradient's."""
    if jnp.issubdtype(value.dtype, jnp.floating) and value.dtype.itemsize < 4:
        value = value.astype(jnp.float32)
    if name.startswith("gradient "):
        return few_of(value, VALUES_PER_PARAMETER)
    if name.startswith("layer "):
        rows = value.reshape(-1, value.shape[-1]) if value.ndim > 1 else value.reshape(1, -1)
        most = max(1, VALUES_FOR_UNITS // max(1, rows.shape[1]))
        return rows[:: coprime_stride(rows.shape[0], most)]
    if value.ndim and value.size > MOST_VALUES:
        return value[: max(1, MOST_VALUES // math.prod(value.shape[1:]))]
    return value[:MOST_ROWS] if value.ndim > 1 and value.size > MOST_VALUES // 4 else value


def few_of(value: Any, most: int) -> Any:
    """At most so many values of an array, taken with a stride that is coprime with their number."""
    return value.reshape(-1)[:: coprime_stride(math.prod(value.shape), most)]


def _few_of_each(weights: list[Any]) -> list[Any]:
    return [few_of(weight, VALUES_PER_PARAMETER).astype(jnp.float32) for weight in weights]


sampled_weights: Callable[[list[Any]], list[Any]] = jax.jit(_few_of_each)
"""A few values of each weight."""
