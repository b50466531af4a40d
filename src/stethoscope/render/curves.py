"""The curves' numbers: losses, metrics, rates and norms, grouped in panels and made short for drawing."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from stethoscope.facts.training import Curve, Doubles, History
from stethoscope.render.series import traced

PANELS = (
    ("loss", ("loss",), "Loss"),
    ("accuracy", ("accuracy",), "Accuracy"),
    ("norm", ("norm", "clip norm"), "Gradient norm"),
    ("learning rate", ("learning rate",), "Learning rate"),
)
"""Key, kinds of curve, title; kinds that are not here get a panel of their own."""
MOST_CURVES = 6
"""Curves in a panel: more cannot be told apart, and the page would grow."""


def curve_panels(history: History) -> list[dict[str, Any]]:
    """Panels as JSON values, in the order in which they are read."""
    known = {kind for _, kinds, _ in PANELS for kind in kinds}
    others = dict.fromkeys(curve.kind for curve in history.curves if curve.kind not in known)
    panels = [*PANELS, *((kind, (kind,), kind.capitalize()) for kind in others)]
    packed = []
    for key, kinds, title in panels:
        curves = [curve for curve in history.curves if curve.kind in kinds and curve.steps.size]
        if curves and not _is_flat(key, curves):
            shown = [_packed(curve) for curve in curves[:MOST_CURVES]]
            packed.append(
                {
                    "key": key,
                    "title": title,
                    "curves": shown,
                    "log": _suits_log(key, curves),
                    "left_out": len(curves) - len(shown),
                    "level": _level(history) if key == "loss" else None,
                }
            )
    return packed


def _is_flat(key: str, curves: list[Curve]) -> bool:
    """Whether it is a rate that never changed: the record says it in one word."""
    return key == "learning rate" and all(bool((curve.values == curve.values[0]).all()) for curve in curves)


def _packed(curve: Curve) -> dict[str, Any]:
    is_training = curve.phase == "training"
    trace = traced(curve.steps, curve.values)
    smooth = is_training and curve.kind != "learning rate"
    return {
        "name": curve.name,
        "phase": curve.phase,
        "count": int(curve.steps.size),
        "steps": floats(trace.steps),
        "values": floats(trace.values),
        "smooth_steps": floats(trace.smooth_steps) if smooth else "",
        "smooth": floats(trace.smooth) if smooth else "",
        "bad": [list(pair) for pair in trace.bad],
    }


def floats(values: Doubles) -> str:
    """Numbers as base64 of little-endian float32."""
    with np.errstate(over="ignore"):
        return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _suits_log(key: str, curves: list[Curve]) -> bool:
    """Whether the axis begins as a logarithmic one: all positive, and neither a share nor a rate."""
    if key in ("accuracy", "learning rate"):
        return False
    finite = np.concatenate([curve.values[np.isfinite(curve.values)] for curve in curves])
    return bool(finite.size and finite.min() > 0 and finite.max() > 3 * finite.min())


def _level(history: History) -> float | None:
    """The loss of a guess that ignores the input, where it is known."""
    loss = history.main_loss()
    return loss.chance if loss is not None and np.isfinite(loss.chance) and loss.reduction == "mean" else None
