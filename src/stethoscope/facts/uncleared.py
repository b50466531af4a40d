"""Optimizers that a loop steps, and whose gradients nothing has to clear, or nothing clears."""

from __future__ import annotations

from stethoscope.facts.code import NOWHERE, Attribute, Binding, Call, Code, Item, Name, Value
from stethoscope.facts.events import Event
from stethoscope.facts.loops import Loop
from stethoscope.facts.origins import thing_of
from stethoscope.facts.ownership import owners_of
from stethoscope.facts.things import Thing, binding_of, followed

_BY_HAND = (".grad = None", ".grad=None", ".grad.zero_", ".grad.data.zero_", "_zero_grad", "zero_grad_")
"""What else clears gradients, in a text."""


def step_left_out(file: Code, loop: Loop) -> Event | None:
    """The first step of an optimizer that a loop never clears, where it is seen what all others are that it clears, and
    each of the models is one by itself: of two networks only one is cleared.
    """
    zeros = loop.of("zero")
    if not all(event.code is file and _is_in_sight(file, event) and event.call is not None for event in zeros):
        return None
    cleared = [one for event in zeros for one in _models_of(file, event.thing, event.subject)]
    if not cleared or None in cleared or file.and_linked_say(*_BY_HAND):
        return None
    elsewhere = [call.receiver for call in file.calls_of(".zero_grad")]
    cleared += [one for value in elsewhere for one in _models_of(file, thing_of(file, value), value)]
    if None in cleared:
        return None
    for step in loop.of("step"):
        stepped = (
            _models_of(file, step.thing, step.subject)
            if step.thing.kind == "optimizer" and _is_in_sight(file, step)
            else []
        )
        if stepped and None not in stepped and not any(one is other for one in stepped for other in cleared):
            return step
    return None


def _is_in_sight(file: Code, event: Event) -> bool:
    """Whether an event is the loop's own, or one of a function of the file that is about a variable of the module."""
    if not event.via:
        return True
    subject = event.subject
    if event.code is not file or not isinstance(subject, Name) or subject.binding == NOWHERE:
        return False
    return file.function_at(file.bindings[subject.binding].context) == 0


def _models_of(file: Code, thing: Thing, subject: Value | None) -> list[Call | None]:
    """The calls that made the models of an optimizer, or a model; None in it of one that is not known."""
    if thing.made is None or thing.made_in is not file:
        return [None]
    if thing.kind == "module":
        return [_made_alone(file, subject)]
    owners = owners_of(file, thing.made.argument(0, "params")) if thing.kind == "optimizer" else None
    return [_made_alone(file, owner) for owner in owners] if owners else [None]


def _made_alone(file: Code, model: Value | None) -> Call | None:
    """The call that made a model which is a variable, and which holds no other: it is given none."""
    if not isinstance(model, Name) or "." in model.name or model.binding == NOWHERE:
        return None
    made = thing_of(file, model).made
    binding = file.bindings[model.binding]
    again = sum(1 for one in file.bindings if one.name == model.name and one.how == "assign")
    if made is None or binding.how != "assign" or again > 1 or thing_of(file, model).made_in is not file:
        return None
    values = (*made.arguments, *(value for _, value in made.keywords))
    return None if any(thing_of(file, one).kind not in ("number", "text", "none") for one in values) else made


def is_of_another_kind(file: Code, loop: Loop) -> bool:
    """Whether what steps is none of torch's optimizers, as far as can be seen, in a file that does not know torch."""
    if loop.of("step")[0].thing.kind == "optimizer":
        return False
    roots = {name.partition(".")[0] for name, _, _ in file.imports}
    return not file.says("torch", "lightning", "accelerate", "fabric") or (
        bool(roots & _OTHERS) and not any(word in root for root in roots for word in ("torch", "lightning"))
    )


_OTHERS = {"mxnet", "paddle", "jittor", "mindspore", "oneflow", "chainer", "tinygrad", "tensorflow", "jax"}
"""Libraries whose steps and gradients are their own: MXNet writes gradients anew."""


def is_of_nothing(loop: Loop) -> bool:
    """Whether each backward pass begins at a parameter that was made for it: a schedule is drawn, nothing learns."""
    for event in loop.of("backward"):
        subject, _ = followed(event.code, event.subject)
        if isinstance(subject, Call) and subject.name in (".sum", ".mean"):
            subject, _ = followed(event.code, subject.receiver)
        if not isinstance(subject, Call) or subject.name != "torch.nn.Parameter":
            return False
    return True


def is_single(file: Code, loop: Loop) -> bool:
    """Whether the optimizer lives for this one step: the function has made it, or no function is there to be called."""
    step = loop.of("step")[0]
    binding = binding_of(step.code, step.subject)
    is_local = binding is not None and binding.how != "argument" and "." not in binding.name
    here = binding is not None and step.code is file and file.function_at(binding.context) == loop.function
    return loop.function == 0 or (is_local and here and not (binding is not None and _is_kept(binding)))


def _is_kept(binding: Binding) -> bool:
    """Whether a variable only names what something else keeps: `run["optimizer"]`, `self.optimizers()`."""
    value = binding.value
    if isinstance(value, Call):
        return value.name == ".optimizers" and isinstance(value.receiver, Name) and value.receiver.name == "self"
    return isinstance(value, Attribute | Item)


def is_helper(file: Code, loop: Loop) -> bool:
    """Whether it is given both the loss and the optimizer: who has them clears as well."""
    subjects = [(event.code, event.subject) for kind in ("backward", "step") for event in loop.of(kind)[:1]]
    bindings = [binding_of(home, _inside(value)) for home, value in subjects if home is file]
    return len(bindings) == 2 and all(one is not None and one.how == "argument" for one in bindings)


def _inside(value: Value | None) -> Value | None:
    """The loss in `scaler.scale(loss)`."""
    return value.argument(0) if isinstance(value, Call) else value
