"""The losses that source code computes: which loss, of what, and what made its input.

for loss in losses_of(code):
    loss.function, loss.output.kind      "cross_entropy", "softmax"
"""

from __future__ import annotations

from dataclasses import dataclass

from stethoscope.facts.code import Call, Code, Value
from stethoscope.facts.layers import Output, output_of
from stethoscope.facts.origins import called
from stethoscope.facts.things import Step

_FUNCTIONS = {
    "crossentropyloss": "cross_entropy", "nllloss": "nll_loss", "nllloss2d": "nll_loss",
    "bceloss": "binary_cross_entropy",
    "bcewithlogitsloss": "binary_cross_entropy_with_logits", "mseloss": "mse_loss", "l1loss": "l1_loss",
    "smoothl1loss": "smooth_l1_loss", "huberloss": "huber_loss", "kldivloss": "kl_div",
    "multilabelsoftmarginloss": "multilabel_soft_margin_loss",
    "softmarginloss": "soft_margin_loss",
    "gaussiannllloss": "gaussian_nll_loss", "poissonnllloss": "poisson_nll_loss",
    "multimarginloss": "multi_margin_loss",
    "cosineembeddingloss": "cosine_embedding_loss", "ctcloss": "ctc_loss",
}  # fmt: skip
"""Losses as modules, in lower case, and the function that each calls."""
NAMES = frozenset(_FUNCTIONS.values())
_CALLED = tuple(f"torch.nn.functional.{name}" for name in sorted(NAMES))
"""The losses that a text can compute which names no class of one."""


@dataclass(frozen=True)
class LossUse:
    """One call of a loss of torch's."""

    function: str
    """As in `torch.nn.functional`: cross_entropy, nll_loss, binary_cross_entropy, ..."""
    call: Call
    code: Code
    made: Call | None
    """Where the loss is a module: the call that constructed it; its options are keywords of that."""
    made_in: Code | None
    given: Value | None
    """The first argument: what the model says."""
    target: Value | None
    output: Output
    """What made the first argument."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The lines that belong to it: this call, where its input came from, and where the loss was constructed."""
        steps = (Step(self.code.file, self.call.at, f"`{self.function}` is computed"), *self.output.steps)
        if self.made is not None and self.made_in is not None and self.made.at != self.call.at:
            steps = (*steps, Step(self.made_in.file, self.made.at, "the loss is made"))
        return steps

    def option(self, name: str) -> Value | None:
        """A keyword of the loss, where it was constructed or called."""
        return (self.made or self.call).keyword(name)


def losses_of(code: Code) -> tuple[LossUse, ...]:
    """All calls of torch's losses in a file, through modules, attributes and parameters."""
    if "losses" not in code.memo:
        code.memo["losses"] = tuple(_losses(code))
    found: tuple[LossUse, ...] = code.memo["losses"]
    return found


def _losses(code: Code) -> list[LossUse]:
    found = []
    for call in code.calls if code.and_linked_say("Loss") else code.calls_of(*_CALLED):
        function, made, made_in = _which(code, call)
        if not function:
            continue
        given, target = call.argument(0, "input"), call.argument(1, "target")
        found.append(LossUse(function, call, code, made, made_in, given, target, output_of(code, given)))
    return found


def _which(code: Code, call: Call) -> tuple[str, Call | None, Code | None]:
    """The loss that a call computes, and where it was constructed; an empty name when it is none."""
    if call.name.startswith("torch.nn.functional."):
        name = call.name.rpartition(".")[2]
        return (name, None, None) if name in NAMES else ("", None, None)
    if call.receiver is None or len(call.arguments) + len(call.keywords) < 2:
        return "", None, None
    loss = called(code, call)
    if loss.kind == "loss" and loss.name.startswith("torch.nn.") and loss.cls is None:
        return _FUNCTIONS.get(loss.name.rpartition(".")[2].lower(), ""), loss.made, loss.made_in or code
    return "", None, None
