"""Lines that were to freeze a model, and where it makes no difference that they do not."""

from __future__ import annotations

import re

from stethoscope.facts.attributes import attributes_set
from stethoscope.facts.code import NOWHERE, Attribute, Binding, Call, Code, Constant, Name, Value
from stethoscope.facts.events import NO_GRAD, is_under, name_of
from stethoscope.facts.module_classes import has_weights
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import Thing, followed, iterated
from stethoscope.facts.uses import times_ended

_FREEZES = re.compile(r"requires?_grads?\w*\s*=\s*False|requires_grad_\(\s*(?:requires_grad\s*=\s*)?False|freeze")


_OF_ANYTHING = ("torch.nn.Module", "torch.nn.ModuleList", "torch.nn.ModuleDict")
"""Classes of modules of which nothing else is known."""
LINES_BESIDE = 8
"""Lines before and behind, where there is no function around."""


_BLOCKS = ("for", "while", "if", "else", "function", "module")
_PARAMETERS = (".parameters", ".named_parameters")


def is_parameter(code: Code, owner: Value | None) -> bool:
    """Whether a value is a parameter: one after the other of `for p in model.parameters()`, or a layer's `weight`."""
    found, _ = followed(code, owner)
    if isinstance(found, Attribute):
        return found.name in ("weight", "bias") and thing_of(code, found.value).kind == "module"
    if not isinstance(owner, Name) or owner.binding == NOWHERE:
        return False
    binding = code.bindings[owner.binding]
    source, _ = followed(code, binding.value)
    if isinstance(source, Call) and source.name in ("builtins.list", "builtins.enumerate") and source.arguments:
        source, _ = followed(code, source.arguments[0])
    is_loop = binding.how == "for" and isinstance(source, Call)
    return is_loop and isinstance(source, Call) and source.name in _PARAMETERS


def is_harmless(code: Code, thing: Thing, binding: Binding) -> bool:
    """Whether a module is not worse off: it has no parameters, or they are switched beside; it runs without gradients
    only; it was to learn, as it does where nothing freezes it; no optimizer has it; or an option gets the value that it
    has.
    """
    path, _, last = binding.name.rpartition(".")
    if "grad" not in last:
        return _is_what_it_was(code, path, last, binding)
    is_layer = thing.kind == "module" or thing.name.endswith("Parameter") or path.endswith((".weight", ".bias"))
    is_on = isinstance(binding.value, Constant) and binding.value.value is True
    if is_on and is_layer and not code.matches(_FREEZES):
        return True
    if thing.kind != "module" or last != "requires_grad":
        return False
    if _is_not_learned(code, path, binding) or _is_in_no_optimizer(code, path) or _is_switched_back(code, binding):
        return True
    is_seen = thing.cls is not None or (thing.name.startswith("torch.nn.") and thing.name not in _OF_ANYTHING)
    if (is_seen and not has_weights(thing)) or _is_left_alone(code, path):
        return True
    return _is_switched(code, path, binding) or _runs_without(code, path)


def _is_left_alone(code: Code, path: str) -> bool:
    """Whether a layer is made here and never named again but to set something on it: it does not run."""
    made = sum(one.name == path and one.how == "assign" for one in code.bindings)
    on_it = sum(one.name.startswith(f"{path}.") for one in code.bindings)
    return path.startswith("self.") and made > 0 and times_ended(code, path.rpartition(".")[2]) <= made + on_it


def _is_switched(code: Code, path: str, binding: Binding) -> bool:
    """Whether the block around, outside of functions the lines next to it, switches the parameters of the same model as
    one should.
    """
    function = code.function_at(binding.context)
    block = next(one for one in code.numbers_around(binding.context) if code.contexts[one].kind in _BLOCKS)
    switches = [(call.context, call.at.line) for call in code.calls_of(".requires_grad_") if _is_of(code, call, path)]
    for number, here in enumerate(code.contexts):
        source, _ = iterated(code, here.value) if here.kind == "for" else (None, ())
        if not isinstance(source, Call) or source.name not in _PARAMETERS or not _is_of(code, source, path):
            continue
        if any(number in code.numbers_around(one.context) for _, one in attributes_set(code, "requires_grad")):
            switches.append((number, here.at.line))
    around = code.numbers_around(binding.context)
    return any(
        (block in code.numbers_around(context) and (block or abs(line - binding.at.line) <= LINES_BESIDE))
        # A loop that stands around the line's condition runs whenever the line does.
        or (code.contexts[context].parent in around and code.contexts[context].kind == "for" and function > 0)
        for context, line in switches
    )


def _is_of(code: Code, call: Call, path: str) -> bool:
    return name_of(code, call.receiver) == path


def _runs_without(code: Code, path: str) -> bool:
    """Whether all calls of a layer, of which there are some, are made without gradients, or their answers cut off."""
    if not path.startswith("self."):
        return False  # who is handed it may train it
    last = f".{path.rpartition('.')[2]}"
    runs = [
        call for call in code.calls_of("()", last)
        if name_of(code, call.receiver) + call.name.removeprefix("()") == path
    ]  # fmt: skip
    cut = [id(call.receiver) for call in code.calls_of(".detach")]
    return bool(runs) and all(is_under(code, call.context, *NO_GRAD) or id(call) in cut for call in runs)


def _is_what_it_was(code: Code, path: str, option: str, binding: Binding) -> bool:
    """Whether an optimizer is made with the same value that it is then told: `SGD(p, lr=lr)`, `optimizer.lr = lr`."""
    made = [one.value for one in code.bindings if one.name == path and one.how == "assign"]
    if len(made) != 1 or not isinstance(made[0], Call) or binding.value is None:
        return False
    given = made[0].argument(1, "lr") if option in ("lr", "learning_rate") else made[0].keyword(option)
    is_once = not any(code.contexts[one].kind in ("for", "while") for one in code.numbers_around(binding.context))
    return is_once and given is not None and code.text(given.at) == code.text(binding.value.at) != ""


def _is_not_learned(code: Code, path: str, binding: Binding) -> bool:
    """Whether a model that is made here, and handed to nothing, is in no optimizer of a file in which there are some,
    or only a part is that was put in; or whether a script without any training runs it.
    """
    made = [one.value for one in code.bindings if one.name == path and one.how == "assign"]
    if "." in path or not made or not all(isinstance(one, Call) for one in made):
        return False
    name = re.escape(path)
    if code.matches(re.compile(rf"[(,=\[*:]\s*{name}\s*(?:[,)\]}}]|$)|\b(?:return|yield)\b.*\b{name}\b(?![\w.(])")):
        return False
    if code.matches(re.compile(rf"(?<![\w.]){name}(?:\.module)?\.(?:named_)?(?:parameters|modules|children)\(")):
        return False
    makes = [call for call in code.calls if call.name.startswith("torch.optim.") and call.name.count(".") == 2]
    if makes:
        given = [call.argument(0, "params") for call in makes]
        return all(isinstance(one, Call) and one.name == ".parameters" for one in given)
    is_run = any(name_of(code, call.receiver) == path for call in code.calls_of("()"))
    return is_run and len(code.functions) == 1 and not code.matches(_TRAINS)


def _is_in_no_optimizer(code: Code, path: str) -> bool:
    """Whether an object makes optimizers, and all of them get other parts of it: `Adam(self.head.parameters())`."""
    if not path.startswith("self."):
        return False
    makes = [call for call in code.calls if call.name.startswith("torch.optim.") and call.name.count(".") == 2]
    given = [call.argument(0, "params") for call in makes]
    owners = [name_of(code, one.receiver) if isinstance(one, Call) and one.name in _PARAMETERS else "" for one in given]
    last = re.escape(path.rpartition(".")[2])
    asked = re.compile(
        rf"\bself\.(?:named_)?parameters\(|\.{last}\.(?:named_)?parameters\(|[(,=\[]\s*self\.{last}\s*[,)\]]"
    )
    is_apart = all(one.startswith("self.") and not f"{path}.".startswith(f"{one}.") for one in owners)
    return bool(owners) and is_apart and not code.matches(asked)


_TRAINS = re.compile(r"backward|optim|\.fit\(|Trainer|autograd")


def _is_switched_back(code: Code, binding: Binding) -> bool:
    """Whether a round of a training switches a model both off and on, and clears what it gathers: the other model's
    pass leaves gradients in it that are cleared before its own.
    """
    rounds = [one for one in code.numbers_around(binding.context) if code.contexts[one].kind in ("for", "while")]
    if not rounds or len(code.calls_of(".zero_grad")) < 2:
        return False
    here = [one for one in code.bindings if one.name == binding.name and rounds[0] in code.numbers_around(one.context)]
    return {one.value.value for one in here if isinstance(one.value, Constant)} == {True, False}
