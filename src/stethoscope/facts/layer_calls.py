"""Calls of torch's own layers with more than the one tensor that they take.

self.cell = nn.Linear(4, 4)
y, h = self.cell(x, h)          ends with an error
"""

from __future__ import annotations

from stethoscope.facts.code import NOWHERE, Call, Code, Name, Starred, Value
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import Thing, binding_of
from stethoscope.facts.torch_names import TAKE_ONE_TENSOR

_IS_CHANGED = ("forward_pre_hook", ".forward =", "__call__")
"""What may give a layer a call that takes more."""


def layer_that_refuses(code: Code, call: Call) -> str:
    """The name of the layer of torch's own to which a call gives more than one tensor; empty where that is not sure."""
    given = [one for one in call.arguments if not isinstance(one, Starred)]
    if len(given) < 2 or not (call.name == "()" or isinstance(call.receiver, Name)):
        return ""
    layer = _layer_of(code, call)
    if layer.made is None or layer.name not in TAKE_ONE_TENSOR or layer.made.name != layer.name:
        return ""
    return "" if code.and_linked_say(*_IS_CHANGED) else layer.name


def _layer_of(code: Code, call: Call) -> Thing:
    """What is called: a layer that is made there, a variable, or an attribute of the own object."""
    if call.name != "()":
        return thing_of(code, _kept(code, call))
    if isinstance(call.receiver, Call):
        return thing_of(code, call.receiver)
    binding = binding_of(code, call.receiver)
    return thing_of(code, binding.value if binding is not None and binding.how == "assign" else None)


def _kept(code: Code, call: Call) -> Value | None:
    """What the constructor gives an attribute of `self` last and in any case, where nothing else gives it."""
    owner = code.class_of(code.function_at(call.context))
    if owner == NOWHERE or not isinstance(call.receiver, Name) or call.receiver.name != "self":
        return None
    cls, name = code.classes[owner], call.name[1:]
    bindings = [code.bindings[one] for one in cls.attributes.get(name, ())]
    maker = cls.methods.get("__init__", NOWHERE)
    if not bindings or any(code.function_at(one.context) != maker or one.how != "assign" for one in bindings):
        return None
    last = max(bindings, key=lambda one: one.at)
    return None if last.item or code.contexts[last.context].kind != "function" else last.value
