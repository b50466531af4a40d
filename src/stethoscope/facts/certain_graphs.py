"""Evaluations that certainly build graphs which nobody uses: gradients are on by all that can be seen, the model has
parameters that want some, and its answers go no further.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Binding,
    Call,
    Choice,
    Code,
    Item,
    Name,
    Symbol,
    Value,
)
from stethoscope.facts.evaluations import Evaluation, is_switched_here, trained_models
from stethoscope.facts.events import NO_GRAD, events_of, is_under, name_of
from stethoscope.facts.graph_flow import MOST_VALUES, comes_with_graph, cuts
from stethoscope.facts.libraries import SAME, SAME_METHODS, kind_of_library
from stethoscope.facts.loops import loops_of
from stethoscope.facts.measures import inside_of
from stethoscope.facts.module_classes import attribute_of, has_weights
from stethoscope.facts.origins import call_sites, given_to, is_module, lineage, thing_of
from stethoscope.facts.reached import Reach, reach_of
from stethoscope.facts.samplers import is_in_loop
from stethoscope.facts.things import Thing

DEEPEST = 4
"""Callers of callers that are followed to where gradients are seen to be on, at most."""
_OTHERS = frozenset({
    "mxnet", "paddle", "jittor", "mindspore", "oneflow", "chainer", "tinygrad", "jax", "flax", "mlx", "tensorflow",
    "megengine", "keras",
})  # fmt: skip
"""Packages whose networks are called, switched and, by some, trained with the words of torch's."""


_ON_TORCH = frozenset(
    {"lightning", "pytorch_lightning", "fastai", "transformers", "timm", "accelerate", "monai", "dgl"}
)
"""Packages whose networks are torch's."""


def builds_for_certain(found: Evaluation) -> bool:
    """Whether an evaluation that is not seen to be without a graph is seen to have one, which nobody uses."""
    is_ours = is_switched_here(found) or found.forward.name in trained_models(found.code)[1]
    return (
        is_ours
        and _is_of_torch(found)
        and not _is_also_trained(found)
        and _has_trained_parameters(found)
        and not _is_quiet_inside(found)
        and _has_gradients_on(found)
        and not _is_quiet_but_once(found)
        and not _is_handed_on(found)
    )


def _is_also_trained(found: Evaluation) -> bool:
    """Whether the function puts the model into either mode, under a condition: its loop may train as well, by a call
    that is not understood.
    """
    switches = [event for event in found.before if event.kind in ("train", "eval", "mode") and not event.via]
    return bool(switches) and switches[-1].in_branch and any(event.kind != "eval" for event in switches)


def _is_of_torch(found: Evaluation) -> bool:
    thing = found.forward.thing
    if thing.cls is not None and is_module(thing):
        return True
    imported = {name.partition(".")[0] for name, _, _ in found.code.imports}
    return not imported & _OTHERS and any(name.startswith("torch") or name in _ON_TORCH for name in imported)


def _has_trained_parameters(found: Evaluation) -> bool:
    """Whether the model is one that this file trains, or one whose layers are seen; of what comes from elsewhere it is
    not known whether it wants gradients, or switches them off by itself.
    """
    return _is_trained(found.code, found.forward.subject)


def _is_quiet_inside(found: Evaluation) -> bool:
    """Whether the network's own `forward` runs a part without a graph: what is left, as a last layer, costs little. Of
    one that is left to heirs it is not known: they may take derivatives.
    """
    for home, cls in lineage(found.forward.thing):
        if "forward" in cls.methods:
            return home.matches(_QUIET, home.functions[cls.methods["forward"]].at)
    return _is_of_base(found)


def _is_of_base(found: Evaluation) -> bool:
    """Whether a model is handed over as one of a base class, by the name of its type: `model: BaseVAE`. Its `forward`
    is not seen.
    """
    code, model = found.code, found.forward.subject
    name, owner = attribute_of(code, model), code.class_of(found.function)
    numbers = code.classes[owner].attributes.get(name, ()) if owner != NOWHERE else ()
    given = [model, *(code.bindings[number].value for number in numbers)]
    names = {one.name for one in given if isinstance(one, Name)}
    return any(
        one.name in names and _BASE.search(one.annotation) for function in code.functions for one in function.parameters
    )


_BASE = re.compile(r"(?<![a-zA-Z])(?:Base|Abstract)(?=[A-Z_]|$)|(?:Base|Interface|Protocol)\b")

_QUIET = re.compile(r"\bno_grad\(|\binference_mode\(|\bset_grad_enabled\(|\bNotImplementedError\b")


def _is_trained(code: Code, value: Value | None) -> bool:
    """Whether the model that a value is trains in this file, or is seen to hold parameters. By its name it is the one
    that trains only where it is not seen to be made.
    """
    made, names = trained_models(code)
    trained = _trained_sources(code)
    for home, one in _sources(code, value):
        thing, name = thing_of(home, one), one.name if isinstance(one, Symbol) else name_of(home, one)
        if thing.made in made or (home is code and one in trained):
            return True
        is_open = not isinstance(one, Call) and home is code
        if is_open and any(f"{name}.".startswith(f"{other}.") for other in names if other):
            return True
        if thing.kind == "module" and _has_known_parameters(thing):
            return True
    return False


def _has_known_parameters(thing: Thing) -> bool:
    if thing.cls is not None:
        return bool(is_module(thing)) and has_weights(thing)
    return has_weights(thing) or (kind_of_library(thing.name) == "module" and thing.name.startswith(_KNOWN_MODELS))


def _trained_sources(code: Code) -> set[Value]:
    if "trained sources" not in code.memo:
        forwards = [event for loop in loops_of(code) for event in loop.of("forward")]
        subjects = [
            (code, one.given) if one.via and one.given is not None else (one.code, one.subject) for one in forwards
        ]
        code.memo["trained sources"] = {
            one for home, value in subjects if home is code for where, one in _sources(code, value) if where is code
        }
    found: set[Value] = code.memo["trained sources"]
    return found


def _sources(code: Code, value: Value | None, depth: int = 0) -> Iterator[tuple[Code, Value]]:
    """What a model is, by the variables, wrappers and calls in this file through which it is handed: the call that
    makes it, or the parameter or attribute from which it comes, without its place.
    """
    while isinstance(value, Call) and (value.name in SAME_METHODS or value.name in SAME):
        value = value.receiver if value.name in SAME_METHODS else value.argument(0)
    while isinstance(value, Attribute) and value.name == "module":
        value = value.value
    if value is None or depth > DEEPEST:
        return
    if isinstance(value, Choice):
        for one in value.options:
            yield from _sources(code, one, depth + 1)
        return
    if not isinstance(value, Name) or value.binding == NOWHERE:
        yield code, Symbol(name_of(code, value), NO_PLACE) if isinstance(value, Attribute) else value
        return
    binding = code.bindings[value.binding]
    if binding.how == "merge":
        for option in binding.options:
            yield from _sources(code, Name(value.name, option, value.at), depth + 1)
    elif binding.how == "assign" and not binding.item and binding.value is not None:
        yield from _sources(code, binding.value, depth + 1)
    elif binding.how == "argument":
        handed = list(_given(code, value))
        if not handed:
            yield code, Name(value.name, value.binding, NO_PLACE)
        for home, one in handed:
            yield from _sources(home, one, depth + 1)
    else:
        yield code, Name(value.name, value.binding, NO_PLACE)


NO_PLACE = At(0, 0, 0, 0)
_KNOWN_MODELS = ("torchvision.models.", "timm.", "transformers.", "segmentation_models_pytorch.", "torch_geometric.nn.")


def _given(code: Code, value: Value | None) -> Iterator[tuple[Code, Value]]:
    """What the callers in this file give for a parameter, unwrapped."""
    if not isinstance(value, Name) or value.binding == NOWHERE or code.bindings[value.binding].how != "argument":
        return
    index = code.function_at(code.bindings[value.binding].context)
    places = [i for i, one in enumerate(code.functions[index].parameters) if one.binding == value.binding]
    for home, one in given_to(code, index, places[0]) if places else ():
        inner: Value | None = one
        while isinstance(inner, Call) and (inner.name in SAME_METHODS or inner.name in SAME):
            inner = inner.receiver if inner.name in SAME_METHODS else inner.argument(0)
        if inner is not None and not (isinstance(inner, Name) and inner.binding == value.binding):
            yield home, inner


def _has_gradients_on(found: Evaluation) -> bool:
    """Whether a way leads there on which gradients are seen to be on. Of a function that nobody calls in its file it is
    likely where the file trains and says nowhere that gradients are switched off.
    """
    code, reach = found.code, reach_of(found.code, found.forward.context)
    return reach is Reach.TRAINING or (
        reach is Reach.NOBODY and bool(trained_models(code)[1]) and not code.says("no_grad", "inference_mode")
    )


def _is_quiet_but_once(found: Evaluation) -> bool:
    """Whether a caller asks without a graph, and those that do not ask a single time, as at the end of a script."""
    code = found.code
    sites = call_sites(code, found.function)
    loud = [one for one in sites if not is_under(code, one.context, *NO_GRAD)]
    return len(loud) < len(sites) and not any(
        is_in_loop(code, one.context, code.function_at(one.context)) for one in loud
    )


def _is_handed_on(found: Evaluation) -> bool:
    """Whether an answer leaves with its graph: it is yielded, given to a function that was handed over, or returned to
    who may go backward for it.
    """
    code = found.code
    function = code.functions[found.function]
    if found.function and code.matches(_YIELD, function.at):
        return True
    bare = [one.value for one in code.bare if found.context in code.numbers_around(one.context)]
    if any(isinstance(one, Call) and _is_open_call(code, one) and _takes_answer(found, one) for one in bare):
        return True
    kept = set(_kept_with_graph(found))
    if any(name.startswith("self.") for name in kept):
        return True
    returned = [one for one in function.returns if found.function and _holds_graph(found, one.value, kept)]
    return bool(returned) and not _is_only_read(found)


_YIELD = re.compile(r"\byield\b")


def _is_open_call(code: Code, call: Call) -> bool:
    """Whether what is called was handed over: `update(loss)`."""
    receiver = call.receiver
    return (
        call.name == "()"
        and isinstance(receiver, Name)
        and receiver.binding != NOWHERE
        and code.bindings[receiver.binding].how in ("argument", "merge")
    )


def _takes_answer(found: Evaluation, call: Call) -> bool:
    return any(_comes_with_graph(found, one) for one in (*call.arguments, *(value for _, value in call.keywords)))


def _kept_with_graph(found: Evaluation) -> Iterator[str]:
    """The sums and lists that keep the graph of what is put there."""
    code = found.code
    function = code.functions[found.function]
    for binding in code.bindings[slice(*function.bindings)]:
        if found.context in code.numbers_around(binding.context) and _comes_with_graph(found, binding.value, binding):
            yield binding.name.removesuffix("[]")
    for call in code.calls[slice(*function.calls)]:
        is_inside = call.name in (".append", ".extend") and found.context in code.numbers_around(call.context)
        if is_inside and _takes_answer(found, call):
            yield name_of(code, call.receiver)


def _holds_graph(found: Evaluation, value: Value, kept: set[str]) -> bool:
    """Whether what is returned is, or holds, something that was kept with its graph."""
    waiting = [value]
    for _ in range(MOST_VALUES):
        if not waiting:
            return False
        one = waiting.pop()
        if isinstance(one, Name) and one.name in kept:
            return True
        if isinstance(one, Name) and one.binding != NOWHERE and found.code.bindings[one.binding].how == "assign":
            inner = found.code.bindings[one.binding].value
            waiting += [inner] if inner is not None and not isinstance(inner, Name) else []
        if not cuts(found.code, one):
            waiting += inside_of(one)
    return True


def _is_only_read(found: Evaluation) -> bool:
    """Whether all who call the function here read what it returns, and none goes backward."""
    code = found.code
    sites = call_sites(code, found.function)
    for call in sites:
        events = events_of(code, code.function_at(call.context))
        if any(
            event.kind == "backward" and may_come_of(code, event.subject, call) for event in events if not event.via
        ):
            return False
    return bool(sites)


def may_come_of(code: Code, value: Value | None, call: Call) -> bool:
    """Whether a value may be made of what a call gives."""
    waiting, seen = [value], set[int]()
    for _ in range(MOST_VALUES):
        if not waiting:
            return False
        one = waiting.pop()
        if isinstance(one, Call) and one.number == call.number:
            return True
        if isinstance(one, Name):
            if one.binding != NOWHERE and one.binding not in seen:
                seen.add(one.binding)
                binding = code.bindings[one.binding]
                waiting += [Name(one.name, option, one.at) for option in binding.options]
                waiting.append(binding.value)
        elif one is not None:
            waiting += inside_of(one)
    return True


def would_fail_with_graph(found: Evaluation) -> bool:
    """Whether an answer is made an array as it is, which torch refuses where there is a graph: so there is none."""
    code = found.code
    for call in code.calls[slice(*code.functions[found.function].calls)]:
        if found.context in code.numbers_around(call.context):
            taken = call.receiver if call.name == ".numpy" else None
            if call.name in _MAKES_ARRAYS:
                taken = call.argument(0)
            if taken is not None and _is_answer_itself(found, taken):
                return True
    return False


_MAKES_ARRAYS = ("numpy.array", "numpy.asarray", "numpy.argmax", "numpy.argsort", "numpy.exp")
_SCORES = ("logits", "last_hidden_state")
"""Parts of an answer that come with its graph."""
_AS_THEY_ARE = frozenset({
    ".cpu", ".squeeze", ".unsqueeze", ".view", ".reshape", ".permute", ".transpose", ".float", ".double", ".flatten",
    ".contiguous", ".mean", ".sum", ".softmax", ".sigmoid", ".exp", ".clamp", ".numpy",
    "torch.softmax", "torch.sigmoid",
    "torch.exp", "torch.squeeze", "torch.nn.functional.softmax", "torch.nn.functional.normalize", ".to", ".t",
})  # fmt: skip
"""What gives an answer with its graph for certain."""


def _is_answer_itself(found: Evaluation, value: Value) -> bool:
    code, call = found.code, found.forward.call
    one: Value | None = value
    for _ in range(MOST_VALUES):
        if isinstance(one, Call):
            if call is not None and one.number == call.number:
                return True
            if one.name not in _AS_THEY_ARE:
                return False
            one = one.receiver if one.name.startswith(".") else one.argument(0)
        elif isinstance(one, Attribute) and one.name in _SCORES:
            one = one.value
        elif isinstance(one, Name) and one.binding != NOWHERE:
            binding = code.bindings[one.binding]
            if binding.how != "assign" or (binding.item and not _is_first_of_model(found, binding)):
                return False
            one = binding.value
        elif isinstance(one, Item):
            one = one.value
        else:
            return False
    return False


def _is_first_of_model(found: Evaluation, binding: Binding) -> bool:
    value, call = binding.value, found.forward.call
    return isinstance(value, Call) and call is not None and value.number == call.number


def _comes_with_graph(found: Evaluation, value: Value | None, itself: Binding | None = None) -> bool:
    """Whether a value comes of the model's answer on a way on which nothing reads it: a number, a class, a copy."""
    call = found.forward.call
    return call is not None and comes_with_graph(found.code, value, {call.number}, found.context, itself)
