"""Keras models in source code: the last layer, and the loss that a model is compiled with.

for compiled in compiled_in(code):
    compiled.head.units, compiled.head.activation, compiled.loss, compiled.from_logits
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stethoscope.facts.code import Call, Code, Constant, Group, Name, Symbol, Value
from stethoscope.facts.origins import bases, called, lineage, member, thing_of
from stethoscope.facts.things import Thing, followed, literal

_SEQUENTIAL = frozenset({"keras.Sequential", "keras.models.Sequential", "keras.engine.sequential.Sequential"})
_FUNCTIONAL = frozenset({"keras.Model", "keras.models.Model", "keras.engine.Model", "keras.engine.training.Model"})
_LOSS = re.compile(r"keras\.losses\.|tensorflow\.losses\.[A-Z]")
_PRODUCTS = frozenset({"tensorflow.matmul", "tensorflow.linalg.matmul", "tensorflow.einsum", "keras.ops.matmul",
                       "keras.ops.einsum"})  # fmt: skip
_ACTIVATIONS = {"Softmax": "softmax", "ReLU": "relu", "LeakyReLU": "leaky_relu"}
_OTHER_BACKEND = re.compile(r"\bKERAS_BACKEND\b.*\b(?:jax|torch)\b|\bset_backend\(\W*(?:jax|torch)\b")


def runs_without_tensorflow(code: Code) -> bool:
    """Whether a file chooses another backend for Keras. On TensorFlow a loss that expects scores takes those that the
    last softmax or sigmoid was given, and warns (measured with Keras 3.12; in TensorFlow's own since 2.3); on the
    others it takes what it gets.
    """
    return code.says("KERAS_BACKEND", "set_backend") and code.matches(_OTHER_BACKEND)


@dataclass(frozen=True)
class Head:
    """The last layer of a model."""

    layer: Call
    """The dense layer, or the product with weights of the model's own."""
    units: int | None
    activation: str | None
    """`linear` where there is none; None where it is not known."""
    code: Code
    """The file in which it stands."""


@dataclass(frozen=True)
class Compiled:
    """A model that was compiled."""

    call: Call
    model: Value
    head: Head | None
    loss: str
    """In lower case without underscores: sparsecategoricalcrossentropy; empty where it is not known."""
    from_logits: bool | None
    loss_at: Value


def compiled_in(code: Code) -> tuple[Compiled, ...]:
    """The models that a file compiles, as far as their loss is known."""
    if "compiled" not in code.memo:
        found = [_compiled(code, call) for call in code.calls_of(".compile")]
        code.memo["compiled"] = tuple(one for one in found if one is not None)
    known: tuple[Compiled, ...] = code.memo["compiled"]
    return known


def _compiled(code: Code, call: Call) -> Compiled | None:
    given = call.argument(1, "loss") if call.keyword("loss") is None else call.keyword("loss")
    if given is None or call.receiver is None:
        return None
    found, _ = followed(code, given)
    name, from_logits = "", False
    if isinstance(found, Constant) and isinstance(found.value, str):
        name = found.value
    elif isinstance(found, Symbol) and found.name.startswith("keras."):
        name = found.name.rpartition(".")[2]
    elif isinstance(found, Call) and _LOSS.match(found.name):
        name = found.name.rpartition(".")[2]
        option = found.keyword("from_logits") or (found.arguments[0] if found.arguments else None)
        truth = literal(code, option) if option is not None else False
        if found.is_open or not isinstance(truth, bool):
            return None
        from_logits = truth
    if not name:
        return None
    head = head_of(code, call.receiver, call)
    return Compiled(call, call.receiver, head, name.lower().replace("_", ""), from_logits, given)


def head_of(code: Code, model: Value | None, before: Call | None, depth: int = 0) -> Head | None:
    """The last layer of a model, where it is a dense one.

    Args:
        code: the file.
        model: the model.
        before: layers that are added after this call do not count.
        depth: how many functions we have gone into.
    """
    made, _ = followed(code, model)
    if not isinstance(made, Call) or depth > 3:
        return None
    if made.name in _SEQUENTIAL:
        return _dense(code, _layers(code, model, made, before))
    if made.name in _FUNCTIONAL:
        output, _ = followed(code, made.argument(1, "outputs") or made.keyword("output"))
        chain: list[Value] = []
        for _ in range(3):
            if not isinstance(output, Call) or output.name != "()":
                break
            layer, _ = followed(code, output.receiver)
            if layer is None:
                return None
            chain.insert(0, layer)
            if _is_layer(layer, "Dense"):
                break
            output, _ = followed(code, output.argument(0))
        return _dense(code, chain)
    thing = thing_of(code, made)
    if thing.cls is not None and _FUNCTIONAL.intersection(bases(thing)):
        return _head_of_class(code, thing)
    callee = called(code, made)
    if callee.function is not None and callee.code is not None and len(callee.function.returns) == 1:
        return head_of(callee.code, callee.function.returns[0].value, None, depth + 1)
    return None


def _head_of_class(code: Code, thing: Thing) -> Head | None:
    """The last layer of a model of a class of its own: what the only answer of its `call` comes out of."""
    method = member(code, thing, "call")
    home, function = method.code, method.function
    if home is None or function is None or len(function.returns) != 1:
        return None
    output, _ = followed(home, function.returns[0].value)
    chain: list[Value] = []
    for _ in range(3):
        if not isinstance(output, Call):
            return None
        if output.name in _PRODUCTS:
            return _dense(home, [output, *chain])
        layer = _kept_as(home, thing, output)
        if layer is None:
            return None
        chain.insert(0, layer)
        if _is_layer(layer, "Dense"):
            break
        output, _ = followed(home, output.argument(0))
    return _dense(home, chain)


def _kept_as(code: Code, thing: Thing, call: Call) -> Value | None:
    """The layer that `self.layer(x)` runs, where the class binds it once, in the same file."""
    if not isinstance(call.receiver, Name) or call.receiver.name != "self":
        return None
    numbers = next((cls.attributes[call.name[1:]] for _, cls in lineage(thing) if call.name[1:] in cls.attributes), ())
    is_known = len(numbers) == 1 and thing.code is code
    return followed(code, code.bindings[numbers[0]].value)[0] if is_known else None


def _layers(code: Code, model: Value | None, made: Call, before: Call | None) -> list[Value]:
    """The layers of a `Sequential`, given at once or added; empty where their order is not certain."""
    given, _ = followed(code, made.argument(0, "layers"))
    layers: list[Value] = []
    if isinstance(given, Group):
        layers = [value for one in given.items if (value := followed(code, one)[0]) is not None]
    elif given is not None:
        return []
    if not isinstance(model, Name):
        return layers
    first, last = code.functions[code.function_at(made.context)].calls
    home = list(code.numbers_around(made.context))
    for call in code.calls[first:last]:
        same = isinstance(call.receiver, Name) and call.receiver.binding == model.binding
        if not same or (before is not None and call.number > before.number):
            continue
        if call.name == ".pop":
            return []
        if call.name == ".add":
            value, _ = followed(code, call.argument(0))
            if value is None:
                return []
            # What is added under a condition may be missing: nobody knows what comes last.
            sure = all(
                number in home or code.contexts[number].kind not in ("if", "else", "try", "except")
                for number in code.numbers_around(call.context)
            )
            layers.append(value if sure else Constant(None, call.at))
    return layers


def _is_layer(value: Value, name: str) -> bool:
    return isinstance(value, Call) and value.name in (f"keras.layers.{name}", f"keras.layers.core.{name}")


def _dense(code: Code, layers: list[Value]) -> Head | None:
    """The dense layer at the end, with the activation behind it."""
    activation: str | None = "linear"
    for layer in reversed(layers):
        if not isinstance(layer, Call):
            return None
        name = layer.name.rpartition(".")[2]
        if layer.name in _PRODUCTS:
            return Head(layer, None, activation, code)
        if _is_layer(layer, "Dense"):
            units = literal(code, layer.argument(0, "units"))
            own = layer.argument(1, "activation")
            if own is not None:
                activation = _activation(code, own) if activation == "linear" else activation
            if layer.is_open:
                activation = None
            return Head(layer, units if isinstance(units, int) else None, activation, code)
        if activation != "linear":
            return None
        if _is_layer(layer, "Activation"):
            activation = _activation(code, layer.argument(0, "activation"))
        elif name in _ACTIVATIONS and layer.name.startswith("keras.layers."):
            activation = _ACTIVATIONS[name]
        else:
            return None
    return None


def _activation(code: Code, value: Value | None) -> str | None:
    """The name of an activation; None where it is not known."""
    found, _ = followed(code, value)
    if isinstance(found, Constant):
        return "linear" if found.value is None else str(found.value)
    if isinstance(found, Symbol) and found.name.startswith(("keras.activations.", "tensorflow.nn.")):
        return found.name.rpartition(".")[2]
    return None
