"""For Accelerate: `with stethoscope.adapters.accelerate.watch(accelerator) as run:` round the loop."""

from __future__ import annotations

from typing import Any

from stethoscope import api


def watch(accelerator: Any, **options: Any) -> api.Watch:
    """Listen to what this accelerator has prepared.

    Args:
        accelerator: after its `prepare`.
        options: those of `stethoscope.watch`.
    """
    models = [accelerator.unwrap_model(model) for model in accelerator._models]
    optimizers = [getattr(wrapped, "optimizer", wrapped) for wrapped in accelerator._optimizers]
    return api.watch(*models, *optimizers, **options)
