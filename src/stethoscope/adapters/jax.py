"""For JAX: `train_step = stethoscope.watch_jax(train_step)`, and the loop stays as it is."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stethoscope.adapters.telling import begun
from stethoscope.core.errors import UsageError
from stethoscope.core.settings import Settings

if TYPE_CHECKING:
    from stethoscope.adapters.jax_step import WatchedStep


def watch_jax(
    step: Callable[..., Any],
    *,
    every: int = 0,
    budget: float | None = None,
    store: str | Path | None = None,
    settings: Settings | None = None,
    proof: bool | None = None,
) -> WatchedStep:
    """Listen to a training step of JAX: plain pytrees with Optax, Flax's train state, or Flax NNX.

    What is given back is called as the step was, and the loop stays as it is. The step runs as it is, and computes the
    same bits. At a few steps, the first fifty and ever more seldom after them, a copy of it computes what is to be seen
    (gradients, outputs of layers, what the loss is given). Beside the parameters, the loss should be among what the
    step returns: otherwise it is known at those few steps only.

    Args:
        step: takes parameters (or a model of NNX) and a batch, and returns the new ones (or changes the model).
        every: look at every N-th step instead of keeping a budget, when above 0.
        budget: share of the training time that listening may take, 0..1; 0.01 when None.
        store: folder to keep the run in; None keeps it in memory only.
        settings: limits and allowed rules; those of the nearest `pyproject.toml` when None.
        proof: try other learning rates on copies of the first steps when all is over; as the settings say when None.

    Raises:
        UsageError: it is no function.
        MissingPiece: JAX or torch is not installed.
    """
    if not callable(step):
        raise UsageError(f"watch_jax() takes the function that makes a step, and got {type(step).__name__}")
    from stethoscope.adapters.jax_step import WatchedStep

    recording, session = begun("jax", every, budget, store, settings, proof)
    watched = WatchedStep(step, recording, session)
    atexit.register(watched._at_exit)
    return watched
