"""Files that only ask a model whose weights were stored: nothing trains there, and no weight is as it was drawn.

model.load_state_dict(torch.load("model.pt"))
model.eval()
"""

from __future__ import annotations

import re

from stethoscope.facts.code import Code
from stethoscope.facts.events import name_of

_TRAINS = re.compile(
    r"\bbackward\b|optim|loss|criterion|Trainer|\btraining_step\b|\.(?:fit|train|step|zero_grad)\("
    r"|requires_grad\s*=\s*True|requires_grad_\(\s*(?:True\b|\))",
    re.I,
)
"""Words of a file that trains, or from which others take what is trained."""


def is_only_asked(code: Code) -> bool:
    """Whether a file loads a model's weights and puts that model into eval mode, and has no word of a training."""
    loaded = {name_of(code, call.receiver) for call in code.calls_of(".load_state_dict") if call.receiver is not None}
    asked = {name_of(code, call.receiver) for call in code.calls_of(".eval") if call.receiver is not None}
    return bool((loaded & asked) - {""}) and not code.matches(_TRAINS)
