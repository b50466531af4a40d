"""Optimizers that a part of a training steps, while each other part of the file clears what it steps itself.

def update_actor(self, states): loss.backward(); self.actor_optimizer.step()               never cleared
def update_critic(self, states): self.critic_optimizer.zero_grad(); ...; self.critic_optimizer.step()
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.facts.code import NOWHERE, Attribute, Call, Code, Name
from stethoscope.facts.events import Event, events_of, is_named_as_optimizer, name_of
from stethoscope.facts.handed import is_wrapped_somewhere
from stethoscope.facts.loops import Loop, functions_going_backward, innermost_loop, loops_of, training_of
from stethoscope.facts.origins import called
from stethoscope.facts.things import binding_of

_OTHERWISE = re.compile(
    r"\b\w+_?zero_?grad\w*|(?<!\.)\bzero_?grad|\bzero_?grad(?!\s*\()\w*|\.grad(?:\.data)?\.(?:zero_|fill_)\("
    r"|\.grad\s*=\s*None|(?:reset|clear|clean)_?grad|[\"']grad[\"']"
)
"""What clears gradients and is no call of `zero_grad`, or hands that on."""


def parts_of(file: Code) -> Iterator[Loop]:
    """Functions that go backward and step outside of their own loops, and which a loop of the file calls: what they
    alone leave out cannot be seen from the loop, where others clear.
    """
    told = {loop.function for loop in loops_of(file) if not loop.is_loop}
    for index in functions_going_backward(file):
        if index == 0 or index in told or file.functions[index].name == "<lambda>":
            continue
        part = training_of(file, index)
        if not part.unclear and all(
            innermost_loop(file, one.context, index) == NOWHERE for one in part.of("backward") if not one.via
        ):
            yield part


def left_to_nobody(file: Code, loop: Loop) -> Event | None:
    """The first step of a loop, or of a function, whose gradients nothing clears that is seen: its function clears
    nothing itself, and all calls of `zero_grad` in the file, and in the project's files that it imports, belong to
    other trainings.
    """
    steps = [one for one in loop.of("step") if not one.via and one.code is file]
    backward = [one for one in loop.of("backward") if not one.via and one.code is file]
    if not steps or not backward or loop.of("other"):
        return None
    codes = (file, *file.linked.saying("zero_grad"))
    if any(code.matches(_OTHERWISE) for code in codes):
        return None
    clearings = [(code, call) for code in codes for call in code.calls_of(".zero_grad")]
    known = {id(call) for _, call in clearings}
    if any(id(one.call) not in known for one in events_of(file, loop.function) if one.kind == "zero"):
        return None
    for step in steps:
        if step.thing.kind != "optimizer" and is_wrapped_somewhere(file):
            continue
        if all(_is_of_another(code, call, file, loop.function, step) for code, call in clearings):
            return step
    return None


def _is_of_another(code: Code, call: Call, file: Code, index: int, step: Event) -> bool:
    """Whether a call clears for the training in which it stands, and not for that of a step."""
    home = code.function_at(call.context)
    if code is file and home == index:
        return False
    behind = [one for one in events_of(code, home) if not one.via and _is_behind(one, call)]
    goes_backward = any(one.kind == "backward" for one in events_of(code, home))
    is_own = goes_backward and _steps_itself(code, home, call, behind, step)
    is_other = _is_other_optimizer(code, call, step)
    if any(_may_call(code, one, file, index) for one in code.calls[slice(*code.functions[home].calls)]):
        return is_own and is_other
    if is_own or (is_other and (goes_backward or code is not file)):
        return True
    if any(one.call is call for one in events_of(file, index)):
        return False
    last = [one.kind for one in behind if one.kind in ("zero", "backward")][-1:]
    return last == ["backward"] and not _is_called_beside(file, index, code, home)


def _steps_itself(code: Code, home: int, call: Call, behind: list[Event], step: Event) -> bool:
    """Whether a function steps, behind a call that clears, what this call has cleared; of a model, an optimizer that is
    named for it, or as many as there are models cleared.
    """
    cleared = name_of(code, call.receiver)
    stepped = {one.name for one in behind if one.kind == "step"}
    if cleared in stepped:
        return True
    models = {one.name for one in events_of(code, home) if one.kind == "zero" and not one.via and _is_of_model(one)}
    if cleared not in models or cleared == "self":
        return False
    if any(_last(cleared) in _last(one) for one in stepped):
        return True
    return _last(cleared) not in step.name and len(models) <= len(stepped)


def _is_of_model(event: Event) -> bool:
    return not is_named_as_optimizer(event.name) and event.thing.kind != "optimizer"


def _is_called_beside(file: Code, index: int, code: Code, home: int) -> bool:
    """Whether something that calls the one function calls the other, too: one that only clears and goes backward may do
    so for who steps.
    """
    callers = [_callers(one, code.functions[home].name) for one in (file, code)]
    beside = [_callers(one, file.functions[index].name) for one in (file, code)]
    return home == 0 or any(one & other for one, other in zip(callers, beside, strict=True)) or index in callers[0]


def _callers(code: Code, name: str) -> set[int]:
    """The functions of a file that call one of this name."""
    return {
        code.function_at(call.context)
        for call in code.calls
        if _last(name_of(code, call.receiver) if call.name == "()" else call.name) == name
    }


def _is_behind(step: Event, call: Call) -> bool:
    return step.call is not None and step.call.number > call.number


def _is_other_optimizer(code: Code, call: Call, step: Event) -> bool:
    """Whether an optimizer is cleared that has another name than one that steps, and is no element of several."""
    cleared = name_of(code, call.receiver)
    bound = binding_of(code, call.receiver)
    if "[" in cleared or (bound is not None and bound.how not in ("assign", "argument")):
        return False
    if "." in step.name and not isinstance(call.receiver, Attribute) and "." not in cleared:
        return False  # it may be the same by a name of its own
    return is_named_as_optimizer(cleared) and _last(cleared) != _last(step.name)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _may_call(code: Code, call: Call, file: Code, index: int) -> bool:
    """Whether a call is of a function, or may be by its name: a method may be that of an heir."""
    name = file.functions[index].name
    said = name_of(code, call.receiver) if call.name == "()" else call.name
    if _last(said) != name:
        return False
    callee = called(code, call)
    if callee.kind in ("function", "class") and callee.function is not None:
        is_same = callee.code is file and callee.number == index
        return is_same or (isinstance(call.receiver, Name) and call.receiver.name == "self")
    return name != "train" or bool(call.arguments or call.keywords)
