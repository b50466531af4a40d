"""Takes the first loss apart: what each loss function in it, and what is added to them, asks of the weights.

Only where nothing else is to be done than to check: the backward passes for it come on top of the script's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stethoscope.facts.code import Site
from stethoscope.facts.model import LossTerm
from stethoscope.observe.training.graph import read

MOST_TERMS = 8
SAME = 1e-4
"""Share of the loss, and of its gradient, below which nothing is added to its loss functions."""


class Terms:
    """The terms of the loss that is backpropagated first.

    A term's part of the loss is its value times the derivative of the loss by it: its weighted value where terms are
    added up. Its part of the gradient is what flows into the parameters through it.
    """

    def __init__(self) -> None:
        self.found: tuple[LossTerm, ...] = ()
        self.why_not = "no loss was backpropagated"
        self._heard: list[tuple[str, Site | None, Tensor]] = []
        self._done = False

    def loss_called(self, function: str, site: Site | None, result: Tensor) -> None:
        """A loss function gave this."""
        if not self._done and result.grad_fn is not None:
            self._heard.append((function, site, result))

    def backward_begins(self, loss: Tensor) -> None:
        """This loss is about to be backpropagated. Whatever fails is the reason why there are no terms."""
        if self._done:
            return
        self._done = True
        heard, self._heard = self._heard, []
        try:
            self.found, self.why_not = _taken_apart(loss, heard, list(read(loss).leaves))
        except Exception as error:
            self.why_not = f"it failed ({type(error).__name__}: {' '.join(str(error).split())[:100]})"


def _taken_apart(
    loss: Tensor, heard: Sequence[tuple[str, Site | None, Tensor]], parameters: Sequence[Tensor]
) -> tuple[tuple[LossTerm, ...], str]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return (), "the model is trained by several processes"
    if loss.numel() != 1 or loss.grad_fn is None or not parameters:
        return (), "no loss of one value reaches the parameters"
    if not heard:
        return (), "no loss function of torch's was called: its terms cannot be told apart"
    if len(heard) > MOST_TERMS:
        return (), f"more than {MOST_TERMS} loss functions are called in a step"
    if len(heard) == 1 and heard[0][2] is loss:  # the usual case, and free
        return (LossTerm(heard[0][0], heard[0][1], float(loss.detach())),), ""
    rest = _gradients(loss, parameters)
    whole_norm = _norm(rest)
    left = float(loss.detach())
    terms = []
    factors = torch.autograd.grad(loss, [result for _, _, result in heard], retain_graph=True, allow_unused=True)
    for (function, site, result), factor in zip(heard, factors, strict=True):
        if factor is None:
            continue
        own = _gradients(result, parameters, factor)
        value = float((factor * result.detach()).sum())
        terms.append(LossTerm(function, site, value, _norm(own)))
        left -= value
        rest = [None if a is None else a if b is None else a - b for a, b in zip(rest, own, strict=True)]
    if not terms:
        return (), "no loss function of torch's is part of the loss: its terms cannot be told apart"
    added = LossTerm("", None, left, _norm(rest))
    if abs(left) > SAME * abs(float(loss.detach())) or added.gradient_norm > SAME * whole_norm:
        terms.append(added)
    return tuple(terms), ""


def _gradients(of: Tensor, parameters: Sequence[Tensor], factor: Tensor | None = None) -> list[Tensor | None]:
    return list(torch.autograd.grad(of, parameters, grad_outputs=factor, retain_graph=True, allow_unused=True))


def _norm(gradients: Sequence[Tensor | None]) -> float:
    known = [each.to_dense() if each.is_sparse else each for each in gradients if each is not None]
    return float(torch.stack([each.detach().double().norm().cpu() for each in known]).norm()) if known else 0.0
