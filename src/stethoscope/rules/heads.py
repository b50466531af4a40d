"""What the rules about output heads, losses and targets share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stethoscope.core.finding import Evidence
from stethoscope.facts.training import Curve, History, LossCall
from stethoscope.rules.examples import flat

REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
CLASSES = ("cross_entropy", "nll_loss", "categorical")
"""What a loss over exclusive classes computes; `categorical` is the hand-written one on probabilities."""
FOLLOWS = (
    "collapsed-predictions",
    "dying-relu",
    "exploding-gradients",
    "learning-rate-too-high",
    "learning-rate-too-low",
    "loss-not-at-chance",
    "loss-not-finite",
    "numerical-instability",
    "overfitting",
    "vanishing-gradients",
    "loss-not-decreasing",
    "cannot-overfit-batch",
    "attention-collapse",
    "underfitting",
    "loss-oscillating",
    "no-gain-over-baseline",
    "saturated-activations",
    "too-few-epochs",
    "unnormalized-target",
)
"""What a head that does not fit its loss looks like from outside."""
_WORDS = {
    "mse_loss": "the squared error",
    "l1_loss": "the absolute error",
    "nll_loss": "the log-likelihood",
    "categorical": "the cross-entropy",
    "binary_cross_entropy": "the binary cross-entropy",
}


def trained(seen: History, *computes: str) -> list[LossCall]:
    """The losses that training goes through and whose values were looked at; of these functions when any are given."""
    return [
        loss
        for loss in seen.losses
        if loss.training_calls and loss.output_shape and (not computes or loss.computes in computes)
    ]


def named(loss: LossCall) -> str:
    """`mse_loss` as code, or words for a loss written out by hand."""
    return f"`{loss.shown}`" if not loss.form else _WORDS.get(loss.form, "the loss")


def width(loss: LossCall) -> int:
    """Size of the axis that holds the classes or columns: the second, or 1."""
    return loss.output_shape[1] if len(loss.output_shape) > 1 else 1


def maker_evidence(loss: LossCall, healthy: str) -> Evidence:
    """The operation that made the output."""
    calls = f"{loss.training_calls} training call{'s' if loss.training_calls != 1 else ''} watched"
    return Evidence(f"operation before the loss, {calls}", f"`{loss.produced_by}`", healthy)


def span(low: float, high: float) -> str:
    """`-1.2 to 3.4`."""
    return f"{low:.3g} to {high:.3g}"


def count(number: float, what: str) -> str:
    """`9 classes`."""
    return f"{number:,.0f} {what}"


def heard(function: str, values: Any = None, **facts: Any) -> History:
    """A made-up run with one loss, for the examples; `values` is its curve, flat at 1 unless given."""
    usual: dict[str, Any] = {
        "training_calls": 20,
        "watched": 20,
        "output_shape": (32, 1),
        "target_shape": (32, 1),
        "late_steps": (80, 190),
    }
    curve = np.asarray(flat(1.0) if values is None else values, np.float64)
    facts = usual | {"first_value": float(curve[0]) if curve.size else math.nan} | facts
    return History(
        steps=curve.size,
        losses=(LossCall(function, **facts),),
        curves=(Curve("training loss", "loss", "training", np.arange(curve.size), curve),),
    )
