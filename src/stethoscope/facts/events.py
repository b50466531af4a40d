"""What a function does to a model and its optimizer, in order: gradients cleared, backward, clipping, steps, schedules,
modes; through the functions that it calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Binding,
    Call,
    Code,
    Constant,
    Defined,
    Name,
    Operation,
    Symbol,
    Value,
)  # fmt: skip
from stethoscope.facts.model_like import is_model_attribute, is_model_like
from stethoscope.facts.origins import called, member, thing_of
from stethoscope.facts.things import Thing, binding_of, followed

DEEPEST = 3
"""Functions inside of functions that are looked into from a loop."""
MOST_EVENTS = 400
_OPTIMIZER_NAME = re.compile(
    r"(?:^|.*[._])(?:\w*optim(?:izer)?s?(?:_?\w+)?|opt(?:_\w+|[A-Z]\w*|\d)?|\w+_opt|solver)(?:\[[^\[\]]*\])?$"
)
_SCHEDULER_NAME = re.compile(r".*(?:sched|lr_|warmup|annealer|decay).*|(?:.*[._])?sch", re.I)
_MODEL_NAME = re.compile(
    r"(?:^|.*[._])(?:model|net|network|\w+_(?:model|net)|(?:model|net)_\w+|encoder|decoder|classifier|\w*[Nn]et|generator|discriminator|netG|netD)$"
)
_FRAMEWORK_NAME = re.compile(r"(?:^|.*[._])(?:accelerator|fabric|\w*engine|deepspeed|strategy|dist_autograd|trainer)$")
_SCALER_NAME = re.compile(r"(?:^|[._])\w*scaler$")
_RECORDER_NAME = re.compile(r"(?:^|[._])prof(?:ile|iler|iling)?(?:$|_)|profiler|checkpoint", re.I)
_CLEARING = re.compile(r".*(?:zero_?grad|reset_?grad|clear_?grad|zero_the_grad|grad_?zero|clean_?grad)\w*", re.I)


_XLA_STEP = "torch_xla.core.xla_model.optimizer_step"
"""What sums gradients over devices and steps, and clears nothing."""


class Event(NamedTuple):
    """One thing that a loop does."""

    kind: str
    """zero, backward, clip, unscale, step, schedule, train, eval, forward or other (a call that is not understood, and
    that is given an optimizer)."""
    call: Call | None
    """None where gradients are cleared by an assignment."""
    code: Code
    """The file in which it happens."""
    at: At
    context: int
    subject: Value | None
    """The optimizer, the loss, the schedule, or the model."""
    thing: Thing
    """What the subject is."""
    via: tuple[tuple[Code, Call], ...] = ()
    """The calls through which the loop reaches it, outermost first."""
    in_branch: bool = False
    """Whether it happens under a condition."""
    hinted: bool = False
    """Whether only the subject's name tells its kind."""
    given: Value | None = None
    """Where the subject is a parameter: what the call gives for it that stands first in `via`."""
    given_in: Code | None = None
    """The file in which that is written: an attribute of `self` is handed on through several as it is."""

    @property
    def name(self) -> str:
        """The subject as it is written."""
        return name_of(self.code, self.subject)

    @property
    def outer_name(self) -> str:
        """The subject as it is called in the function from which we look; empty where it is not handed over there."""
        if not self.via:
            return self.name
        return name_of(self.via[0][0], self.given)

    @property
    def outer_context(self) -> int:
        """Where the function from which we look does it, or calls what does it."""
        return self.via[0][1].context if self.via else self.context


def name_of(code: Code, value: Value | None) -> str:
    """A value as it is written, empty for None."""
    if isinstance(value, Name):
        return value.name
    return code.text(value.at) if value is not None else ""


def is_named_as_optimizer(name: str) -> bool:
    """Whether a name is one that people give to optimizers."""
    return bool(_OPTIMIZER_NAME.fullmatch(name)) and not _SCHEDULER_NAME.fullmatch(name)


def is_named_as_schedule(name: str) -> bool:
    """Whether a name is one that people give to schedules."""
    return bool(_SCHEDULER_NAME.fullmatch(name))


def is_named_as_recorder(name: str) -> bool:
    """Whether a name is one of things that count steps beside a training: a profiler, what keeps checkpoints."""
    return bool(_RECORDER_NAME.search(name))


def is_of_copy(code: Code, call: Call) -> bool:
    """Whether a call is of an optimizer that steps copies of weights and leaves them as they are: one that `with
    higher.innerloop_ctx(...)` gives.
    """
    bound = binding_of(code, call.receiver)
    made = bound.value if bound is not None and bound.how == "with" else None
    return isinstance(made, Call) and made.name.startswith("higher.")


def is_in_loop(code: Code, event: Event, loop: int) -> bool:
    """Whether something happens in a loop, or in a function that the loop calls."""
    return loop in code.numbers_around(event.outer_context)


def events_of(code: Code, index: int, depth: int = 0) -> tuple[Event, ...]:
    """What a function does, in order, with what the functions do that it calls."""
    known: dict[tuple[int, int], tuple[Event, ...]] = code.memo.setdefault("events", {})
    key = index, depth
    if key not in known:
        known[key] = ()  # it may call itself
        known[key] = tuple(_events(code, index, depth))[:MOST_EVENTS]
    return known[key]


def _events(code: Code, index: int, depth: int) -> Iterator[Event]:
    function = code.functions[index]
    first, last = function.calls
    clearings = [
        binding for binding in code.bindings[slice(*function.bindings)]
        if binding.name.endswith(".grad") and _is_none(binding.value)
    ]  # fmt: skip
    waiting = iter(clearings)
    next_one = next(waiting, None)
    for call in code.calls[first:last]:
        while next_one is not None and next_one.order <= call.number:
            yield _cleared(code, next_one)
            next_one = next(waiting, None)
        if call.receiver is not None or "." in call.name:
            yield from _event(code, call, depth)
    while next_one is not None:
        yield _cleared(code, next_one)
        next_one = next(waiting, None)


def _is_none(value: Value | None) -> bool:
    """Whether it is nothing, or zeros: `Variable(data.new().resize_as_(data).zero_())` in old code."""
    if isinstance(value, Call) and value.name == "torch.autograd.Variable":
        value = value.argument(0)
    if isinstance(value, Call):
        return value.name in (".zero_", "torch.zeros_like", "torch.zeros", ".new_zeros")
    return isinstance(value, Constant) and value.value in (None, 0)


def _cleared(code: Code, binding: Binding) -> Event:
    return Event("zero", None, code, binding.at, binding.context, None, Thing("tensor"))


_PLAIN = frozenset({
    ".zero_grad", ".backward", ".step", ".train", ".eval", ".unscale_", ".clip_grad_norm_", ".clip_grad_value_",
    ".manual_backward", ".zero_", ".clip_grad_norm", ".optimizer_zero_grad", ".optimizer_step", ".requires_grad_",
    ".fill_", ".step_update", ".clip_gradients", ".reset_grad",
})  # fmt: skip


def _event(code: Code, call: Call, depth: int) -> Iterator[Event]:
    """What one call does."""
    name = call.name
    if name in _PLAIN:
        if name == ".step" and call.arguments and depth < DEEPEST:
            for index in closures_of(code, call):
                for event in events_of(code, index, depth + 1):
                    yield event._replace(via=((code, call), *event.via))
        found = _method(code, call, depth)
        if found is not None:
            yield found
            return
    elif name.startswith("torch."):
        if name.startswith(("torch.nn.utils.clip_grad", "torch.nn.utils.clip_grads")):
            yield _make("clip", code, call, call.argument(0), Thing("parameters"))
        elif name in ("torch.autograd.backward", "torch.autograd.grad"):
            kind = "backward" if name.endswith("backward") else "grad"
            yield _make(kind, code, call, call.argument(0), Thing("tensor"))
        elif name == "torch.distributed.autograd.backward":
            yield _make("backward", code, call, call.argument(0), Thing("framework", name))
        return
    elif name.startswith(("builtins.", "numpy.", "os.", "time.", "tqdm.", "math.", "random.", "sys.", "logging.")):
        return
    if name == _XLA_STEP:
        stepped = thing_of(code, call.argument(0, "optimizer"))
        yield _make("step", code, call, call.argument(0, "optimizer"), stepped, hinted=stepped.kind != "optimizer")
        return
    if _CLEARING.fullmatch(name.rpartition(".")[2]) or (
        name == "()" and isinstance(call.receiver, Name) and _CLEARING.fullmatch(call.receiver.name)
    ):
        yield _make("zero", code, call, call.receiver, Thing("unknown"), hinted=True)
        return
    yield from _inside(code, call, depth)


def _inside(code: Code, call: Call, depth: int) -> Iterator[Event]:
    """What a function of the project does that is called here."""
    callee = called(code, call)
    yield from _cleared_by_model(code, call, callee, depth)
    if call.name == ".forward" and _is_model(code, call.receiver):
        yield _make("forward", code, call, call.receiver, thing_of(code, call.receiver), hinted=True)
        return
    if callee.kind == "function" and callee.code is not None and callee.number != NOWHERE:
        own = thing_of(code, call.receiver) if call.name == ".step" else None
        if own is not None and own.kind == "optimizer" and not _steps_inside(callee.code, callee.number, depth):
            yield _make("step", code, call, call.receiver, own)  # of a class that inherits from torch's
        if depth < DEEPEST:
            in_branch = is_branched(code, call.context)
            for event in events_of(callee.code, callee.number, depth + 1):
                if len(event.via) < DEEPEST:
                    given = _given(code, call, callee, event)
                    is_own = given is not None and given is (event.given if event.via else event.subject)
                    home = (event.given_in or event.code) if is_own else code  # `self.optimizer` is of its own file
                    thing = thing_of(home, given)
                    known = thing.kind != "unknown"
                    kind = _STEPS.get(thing.kind, event.kind) if event.kind == "unknown step" else event.kind
                    yield event._replace(
                        kind=kind,
                        via=((code, call), *event.via),
                        in_branch=event.in_branch or in_branch,
                        thing=thing if known else event.thing,
                        hinted=event.hinted and not known,
                        given=given,
                        given_in=home,
                    )
        return
    if callee.kind in ("module", "loss"):
        if callee.kind == "module":
            yield _make("forward", code, call, _model_of(call), callee)
        return
    if callee.kind in ("class", "imported") and call.name == "()":
        return
    is_through = call.name == ".module"  # of a model that is wrapped for several devices
    if (
        (call.name == "()" or is_through)
        and isinstance(call.receiver, Name)
        and (is_model_like(code, call.receiver.binding))
    ):
        yield _make("forward", code, call, call.receiver, callee, hinted=True)
        return
    if callee.kind == "unknown" and is_model_attribute(code, call):
        yield _make("forward", code, call, _model_of(call), callee, hinted=True)
        return
    if call.name.startswith(".") and call.name in (".append", ".format", ".join", ".update", ".write", ".log", ".info"):
        return
    for value in (*call.arguments, *(value for _, value in call.keywords)):
        thing = thing_of(code, value)
        if thing.kind == "optimizer" or (thing.kind == "unknown" and isinstance(value, Name)
                                         and _OPTIMIZER_NAME.fullmatch(value.name)):  # fmt: skip
            if callee.kind != "class" and not call.name.startswith(_KNOWN):
                yield _make("other", code, call, value, thing)
            return


def _steps_inside(code: Code, number: int, depth: int) -> bool:
    """Whether a method has another one step: `super().step()`, `self.inner.step()`."""
    events = events_of(code, number, depth + 1) if depth < DEEPEST else ()
    return any(one.kind in ("step", "unknown step") for one in events)


def _cleared_by_model(code: Code, call: Call, callee: Thing, depth: int) -> Iterator[Event]:
    """Gradients that a model of the project clears when it is called: `self.zero_grad()` in its `forward`."""
    model = thing_of(code, call.receiver) if call.name == ".forward" else callee
    if depth >= DEEPEST or model.kind not in ("module", "loss", "instance"):
        return
    if model.code is None or not model.code.says("zero_grad"):
        return
    forward = member(code, model, "forward")
    if forward.kind == "function" and forward.code is not None and forward.number != NOWHERE:
        for event in events_of(forward.code, forward.number, depth + 1):
            if event.kind == "zero" and len(event.via) < DEEPEST:
                yield event._replace(via=((code, call), *event.via), given=None)


def _is_model(code: Code, value: Value | None) -> bool:
    """Whether a value is a module, or a variable that is used as one; `super()` and classes are not."""
    if thing_of(code, value).kind == "module":
        return not isinstance(value, Name) or value.name != "self"
    return isinstance(value, Name) and is_model_like(code, value.binding)


def _model_of(call: Call) -> Value | None:
    """The model that is called: `self.model` of `self.model(x)`, which reads as a call of a method."""
    owner = call.receiver
    if call.name in ("()", ".module", ".forward") or owner is None:
        return owner
    at = owner.at._replace(end_column=owner.at.end_column + len(call.name.encode()))
    return Attribute(owner, call.name[1:], at)


_STEPS = {"optimizer": "step", "scheduler": "schedule"}
_KNOWN = ("torch.", "higher.", "apex.amp.")
"""What is given optimizers and neither clears nor steps: apex's `scale_loss` keeps the gradients that are there."""


def _given(code: Code, call: Call, callee: Thing, event: Event) -> Value | None:
    """What a call gives for the subject of an event in the function that it calls, where that is a parameter."""
    subject = event.given if event.via else event.subject
    function = callee.function
    home = event.via[0][0] if event.via else event.code
    if event.via and isinstance(subject, Attribute) and function is not None and function.owner != NOWHERE:
        return subject if home is callee.code is code else None  # `self.model`, handed on inside of one object
    if not isinstance(subject, Name) or subject.binding == NOWHERE or function is None:
        return None
    for place, parameter in enumerate(function.parameters):
        if parameter.binding == subject.binding and home is callee.code and event.given_in in (None, home):
            shift = 1 if function.owner != NOWHERE else 0
            return call.argument(place - shift, parameter.name) if place >= shift else call.receiver
    if "." in subject.name or isinstance(subject, Attribute):
        return subject if home is callee.code and function.owner != NOWHERE else None
    return None


def _make(
    kind: str, code: Code, call: Call, subject: Value | None, thing: Thing, *, hinted: bool = False
) -> Event:  # fmt: skip
    return Event(
        kind, call, code, call.at, call.context, subject, thing, in_branch=is_branched(code, call.context),
        hinted=hinted,
    )  # fmt: skip


def is_branched(code: Code, context: int) -> bool:
    """Whether something happens only under a condition within its loop or function."""
    for here in code.around(context):
        if here.kind in ("if", "else", "except"):
            return True
        if here.kind in ("for", "while", "function", "class", "module"):
            return False
    return False


def _method(code: Code, call: Call, depth: int) -> Event | None:
    """What a method of torch's does, when that is what it is; None when it may be the project's own."""
    name, receiver = call.name, call.receiver
    thing = thing_of(code, receiver)
    if thing.cls is not None and member(code, thing, name[1:]).kind == "function":
        return None
    written = code.text(receiver.at) if receiver is not None else ""
    if name in (".zero_grad", ".optimizer_zero_grad", ".reset_grad"):
        return _make("zero", code, call, receiver, thing)
    if name in (".zero_", ".fill_", ".requires_grad_"):
        about_grad = isinstance(receiver, Attribute) and "grad" in code.text(receiver.at)
        return _make("zero", code, call, receiver, thing) if about_grad and name != ".requires_grad_" else None
    if name in (".backward", ".manual_backward"):
        subject = receiver
        if call.arguments and (thing.kind == "framework" or _FRAMEWORK_NAME.fullmatch(written)):
            drives = _FRAMEWORK_NAME.fullmatch(written) is not None and thing.kind == "unknown"
            engine = thing.name == "deepspeed" or written.endswith("engine") or "dist_autograd" in written
            subject = call.argument(0)
            return _make("backward", code, call, receiver if engine else subject, thing if engine else Thing("tensor"),
                         hinted=drives and engine)  # fmt: skip
        return _make("backward", code, call, subject, thing)
    if name in (".unscale_", ".clip_grad_norm_", ".clip_grad_value_", ".clip_grad_norm", ".clip_gradients"):
        return _make("unscale" if name == ".unscale_" else "clip", code, call, receiver, thing)
    if name in (".train", ".eval"):
        return _mode(code, call, thing, written)
    return _step(code, call, thing, written)


def _mode(code: Code, call: Call, thing: Thing, written: str) -> Event | None:
    kind = call.name[1:]
    if kind == "train" and call.arguments:
        argument = followed(code, call.arguments[0])[0]
        if not isinstance(argument, Constant):
            is_told = thing.kind == "module" or (thing.kind == "unknown" and tells_mode(code, call.arguments[0]))
            return _make("mode", code, call, call.receiver, thing) if is_told else None
        kind = "train" if argument.value else "eval"
    if len(call.arguments) > 1 or (kind == "eval" and call.arguments and call.name == ".eval"):
        return None
    hinted = thing.kind not in ("module", "loss")
    if hinted and not _MODEL_NAME.fullmatch(written) and thing.kind not in ("unknown", "instance"):
        return None
    return _make(kind, code, call, call.receiver, thing, hinted=hinted)


_MODE_NAME = re.compile(
    r"(?:\w*[._])?(?:is_?|was_?|in_?|set_?|old_?|prev(?:ious)?_?|orig(?:inal)?_?)*"
    r"(?:train(?:ing)?(?:_?(?:mode|state|flag))?|mode|was|prev(?:ious)?|state|flag)"
)


def tells_mode(code: Code, value: Value | None) -> bool:
    """Whether a value is a mode, and no data: `was_training`, `phase == "train"`."""
    if isinstance(value, Operation):
        return value.operator in ("==", "!=", "not", "in", "not in", "is", "is not")
    return isinstance(value, Name | Attribute) and bool(_MODE_NAME.fullmatch(name_of(code, value)))


def _step(code: Code, call: Call, thing: Thing, written: str) -> Event | None:
    """A `.step()`: of an optimizer, a scaler, a schedule, or of something else."""
    if call.name == ".optimizer_step":
        return _make("step", code, call, call.receiver, thing)
    if call.name == ".step_update" or thing.kind == "scheduler":
        return _make("schedule", code, call, call.receiver, thing)
    if thing.kind == "optimizer":
        return _make("step", code, call, call.receiver, thing)
    first = call.argument(0)
    is_schedule = thing.kind != "scaler" and _SCHEDULER_NAME.fullmatch(written) is not None
    if first is not None and not isinstance(first, Constant | Defined | Symbol) and not is_schedule:
        stepped = thing_of(code, first)
        is_named = isinstance(first, Name) or (isinstance(first, Attribute) and bool(_SCALER_NAME.search(written)))
        hinted = is_named and bool(_OPTIMIZER_NAME.fullmatch(name_of(code, first)))
        if stepped.kind == "optimizer" or (thing.kind == "scaler") or (hinted and stepped.kind == "unknown"):
            return _make("step", code, call, first, stepped, hinted=stepped.kind != "optimizer")
    if thing.kind == "function" and isinstance(call.receiver, Attribute) and is_named_as_optimizer(written):
        thing = Thing("unknown")  # a property: a function has no steps
    if (
        thing.kind not in ("unknown", "framework", "instance")
        or is_named_as_recorder(written)
        or is_of_copy(code, call)
    ):
        return None
    if is_schedule:
        return _make("schedule", code, call, call.receiver, thing, hinted=True)
    if _OPTIMIZER_NAME.fullmatch(written) or thing.kind == "framework":
        return _make("step", code, call, call.receiver, thing, hinted=True)
    if not call.arguments and not call.keywords:
        return _make("unknown step", code, call, call.receiver, thing, hinted=True)
    return None


def closures_of(code: Code, call: Call) -> list[int]:
    """Functions that a call is given, as `optimizer.step(closure)` is."""
    found = []
    for value in call.arguments:
        thing = thing_of(code, value)
        if thing.kind == "function" and thing.code is code:
            found.append(thing.number)
    return found


def is_under(code: Code, context: int, *names: str) -> bool:
    """Whether something happens inside of a `with` of one of these functions, or in a function that one decorates."""
    for here in code.around(context):
        if here.kind == "with" and isinstance(here.value, Call):
            name = here.value.name  # `.no_grad` where a file imports torch in a way of its own
            if name in names or (name.startswith(".") and any(one.endswith(name) for one in names)):
                return True
        if here.kind == "function":
            for decorator in code.functions[here.owner].decorators:
                name = decorator.name if isinstance(decorator, Symbol | Call) else ""
                if name in names:
                    return True
    return False


NO_GRAD = ("torch.no_grad", "torch.inference_mode", "torch.set_grad_enabled")
