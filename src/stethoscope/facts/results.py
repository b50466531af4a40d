"""What a run came to, in a few numbers."""

from __future__ import annotations

import numpy as np

from stethoscope.facts.training import History


def results_of(history: History) -> dict[str, float]:
    """Final and best value of each loss and accuracy curve; training curves end in a median of the last tenth."""
    results: dict[str, float] = {}
    for curve in history.curves:
        if curve.kind not in ("loss", "accuracy") or not curve.values.size:
            continue
        tail = max(1, curve.values.size // 10) if curve.phase == "training" else 1
        results[f"final {curve.name}"] = float(np.median(curve.values[-tail:]))
        finite = curve.values[np.isfinite(curve.values)]
        if finite.size:
            results[f"best {curve.name}"] = float(finite.min() if curve.kind == "loss" else finite.max())
    return results
