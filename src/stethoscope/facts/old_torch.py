"""Code that was written for a torch of long ago, in which other lines were right."""

from __future__ import annotations

import re

from stethoscope.facts.code import Code
from stethoscope.facts.events import Event, name_of

_VOLATILE = re.compile(r"\bvolatile\s*=")


def knows_volatile(code: Code) -> bool:
    """Whether its inputs may be volatile, as before torch 0.4: these built no graph."""
    return code.says("volatile") and code.matches(_VOLATILE)


def schedules_step_first(code: Code) -> bool:
    """Whether it only runs in a torch in which a schedule was stepped before the optimizer, as it was before 1.1.

    The number of a loss was read as `loss.data[0]`, which raises since 0.5.
    """
    if knows_volatile(code):
        return True
    losses = {name_of(code, call.receiver) for call in code.calls_of(".backward")} - {""}
    return code.says(".data[0]") and any(
        code.matches(re.compile(rf"(?<![\w.]){re.escape(name)}\.data\[0\]")) for name in losses
    )


def may_step_schedules_first(code: Code, schedule: Event) -> bool:
    """Whether it may be older than torch 1.1, as far as its lines tell, or not: they still work.

    The rates of the schedule are asked for by `get_lr()`, which is `get_last_lr()` since torch 1.4; or it draws with
    `tensorboardX`, in whose place torch 1.1, which changed the order, has `torch.utils.tensorboard`.
    """
    if any(name.partition(".")[0] == "tensorboardX" for name, _, _ in code.imports):
        return True
    return any(name_of(code, call.receiver) == schedule.name for call in code.calls_of(".get_lr"))
