"""Optimizers that a function or an object is handed: whether all that can be seen says that they are torch's."""

from __future__ import annotations

import re

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Name, Symbol, Value
from stethoscope.facts.events import Event, events_of, is_named_as_optimizer, name_of
from stethoscope.facts.origins import bases, called, lineage, thing_of
from stethoscope.facts.stepping import is_made_here
from stethoscope.facts.things import Thing, iterated

_OTHERS = frozenset({
    "mxnet", "paddle", "jittor", "mindspore", "oneflow", "chainer", "tinygrad", "tensorflow", "jax", "keras",
    "deepspeed", "colossalai", "megatron", "lightning", "pytorch_lightning", "fastai", "composer", "ignite", "catalyst",
    "higher", "torchopt", "mmcv", "mmengine", "poptorch", "pyro", "fairseq", "allennlp",
})  # fmt: skip
"""Packages whose optimizers, or trainers, clear or step by themselves."""
_HOOKS = re.compile(r"callback|hook|\bcall_event|accelerator\.accumulate|\.grad\b|['\"]grad['\"]", re.I)
"""Words of lines that call what is registered elsewhere, or touch gradients themselves: both may clear or step."""
_BY_ANOTHER_NAME = re.compile(
    r"\bopt\w*\.step\b(?![ \t]*\()|\.(?:zero_grad|backward)\b(?![ \t]*\()|setattr\([^)]*[\"']grad[\"']"
)
"""A method that is kept or handed over, and not called there: `clear = optimizer.zero_grad`."""
_CLEARS = re.compile(r"zero_grad|\.grad\s*=\s*None|set_to_none|backward\(")


def is_surely_stepped(file: Code, loop: int, event: Event) -> bool:
    """Whether an event is about one of torch's optimizers for all that can be seen, in a loop that does nothing to it
    behind our back: one that this file makes, or one that is of a known class, or is handed over under such a name.
    """
    if file.matches(_BY_ANOTHER_NAME):
        return False
    if is_made_here(file, event):
        return True
    if _has_other_methods(file, event):
        return False
    return is_handed(file, event) and _takes_batches(file, loop) and not _calls_hooks(file, loop)


def _has_other_methods(file: Code, event: Event) -> bool:
    """Whether an optimizer that is not known has methods that none of torch's has: `optimizer.tell(loss.item())`."""
    return event.thing.kind == "unknown" and any(
        name_of(file, call.receiver) == event.name and not _OF_OPTIMIZERS.search(call.name)
        for call in file.calls
        if call.name.startswith(".") and call.receiver is not None
    )


_OF_OPTIMIZERS = re.compile(
    r"step|grad|state|param|lr|rate|backward|loss|scale|sync|master|hook|swa|ema|^\.(?:train|eval|join|to|cuda)$|update|clip"
    r"|\.__\w+__|^\.(?:items|values|keys|append|get)$"
)
"""What methods of optimizers are called, with those of apex, Horovod, fairseq and the averages of weights."""


def is_handed(file: Code, event: Event) -> bool:
    """Whether an optimizer comes from outside, and is torch's by its class, or by its name in a file of torch's where
    nothing of the project is seen to wrap one.
    """
    if not file.says("torch") or _is_of_others(file):
        return False
    if event.thing.kind == "optimizer":
        return event.thing.cls is None
    if event.code is not file or event.thing.kind != "unknown" or not is_named_as_optimizer(event.name):
        return False
    return _is_given(file, event.subject) and not is_wrapped_somewhere(file)


def _is_of_others(file: Code) -> bool:
    return bool({name.partition(".")[0] for name, _, _ in file.imports} & _OTHERS)


def _is_given(file: Code, subject: Value | None) -> bool:
    """Whether a value is a parameter of a function, or an attribute that its object was only given as one."""
    if isinstance(subject, Name) and subject.binding != NOWHERE:
        binding = file.bindings[subject.binding]
        if binding.how == "assign" and not binding.item and _is_made_of_parameters(file, binding.value):
            return True
        if binding.how == "merge":  # `if loss_fn is None: loss_fn = F.cross_entropy`
            ways = [(Name(binding.name, one, subject.at), file.bindings[one].value) for one in binding.options]
            return all(isinstance(value, Symbol) or _is_given(file, name) for name, value in ways)
        return binding.how == "argument" or ("." in binding.name and _is_given(file, binding.value))
    if not isinstance(subject, Attribute) or not isinstance(subject.value, Name) or subject.value.binding == NOWHERE:
        return False
    owner = file.bindings[subject.value.binding]
    index = file.class_of(file.function_at(owner.context))
    if owner.how != "argument" or index == NOWHERE or owner.name != "self":
        return False
    cls = Thing("class", "", file, index)
    if set(bases(cls)) - _PLAIN_BASES or len(file.classes[index].bases) > 1:
        return False
    made = [
        (home, home.bindings[one].value) for home, its in lineage(cls) for one in its.attributes.get(subject.name, ())
    ]
    return bool(made) and all(_is_given(home, one) or _is_made_of_parameters(home, one) for home, one in made)


_PLAIN_BASES = {"builtins.object", "abc.ABC", "torch.nn.Module"}
"""Bases that do nothing to an optimizer."""


def _is_made_of_parameters(file: Code, value: Value | None) -> bool:
    """Whether a call that is not understood is given a model's parameters: `settings.optimizer(model.parameters())`."""
    return isinstance(value, Call) and any(thing_of(file, one).kind == "parameters" for one in value.arguments)


def is_wrapped_somewhere(file: Code) -> bool:
    """Whether a class of the project has a `step` of its own that clears or goes backward."""
    for code in (file, *file.linked.saying("def step(")):
        for cls in code.classes:
            index = cls.methods.get("step")
            if index is not None and code.matches(_CLEARS, code.functions[index].at):
                return True
    return False


def _takes_batches(file: Code, context: int) -> bool:
    """Whether a round is given its batch, or draws it: who measures time steps as well, and always on the same."""
    here = file.contexts[context]
    if here.kind == "function" or file.matches(_DRAWN, here.at):
        return True
    source, _ = iterated(file, here.value)
    counts = isinstance(source, Call) and source.name in ("builtins.range", "tqdm.trange")
    return here.kind == "for" and not counts


_DRAWN = re.compile(r"\bnext\(|\.next\(\)")


def _calls_hooks(file: Code, context: int) -> bool:
    return file.matches(_HOOKS, file.contexts[context].at) or calls_handlers(file, context)


def calls_handlers(file: Code, context: int) -> bool:
    """Whether something is told there of what happens, `self.on_epoch_end()`: a method of that name that is not seen,
    or whose answer nobody takes, since another class may fill it in.
    """
    dropped = {id(one.value) for one in file.bare}
    return any(
        call.name.startswith(".on_")
        and context in file.numbers_around(call.context)
        and (id(call) in dropped or called(file, call).function is None)
        for call in file.calls
    )


def is_cleared_in_helper(file: Code) -> bool:
    """Whether a function of the file clears gradients and does not train: somebody calls it for that."""
    for call in file.calls_of(".zero_grad"):
        index = file.function_at(call.context)
        kinds = {event.kind for event in events_of(file, index)}
        if index and not kinds & {"backward", "step", "unknown step"} and name_of(file, call.receiver):
            return True
    return False


def is_surely_loss(file: Code, call: Call) -> bool:
    """Whether what is called is named as a loss, is given an answer and what it should be, and is handed over as one or
    is of the project.
    """
    if len(call.arguments) + len(call.keywords) < 2:
        return False
    callee, kept = called(file, call), call.receiver
    if callee.kind == "loss":
        return True
    name = name_of(file, call.receiver) if call.name == "()" else call.name[1:]
    if not _LOSS.fullmatch(name):
        return False
    if call.name != "()" and call.receiver is not None:
        kept = Attribute(call.receiver, name, call.at)
    return (callee.kind == "function" and callee.code is not None) or _is_given(file, kept)


_LOSS = re.compile(r"(?:self\.)?(?:\w*criterion\w*|\w*loss(?:es)?(?:_?(?:fn|func|function|f))?)", re.I)
