"""What the doors share that tell a recording what they see, where no tap on torch hears it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stethoscope.core.settings import Settings, read_settings
from stethoscope.facts.run import RunRecord
from stethoscope.observe.environment import describe_environment

if TYPE_CHECKING:
    from stethoscope.observe.arrays.session import ArraySession
    from stethoscope.recording import Recording


def begun(
    framework: str,
    every: int = 0,
    budget: float | None = None,
    store: str | Path | None = None,
    settings: Settings | None = None,
    proof: bool | None = False,
) -> tuple[Recording, ArraySession]:
    """A recording, and the session that it is told through.

    Args:
        framework: `jax` or `keras`.
        every: look at every N-th step instead of keeping a budget, when above 0.
        budget: share of the training time that listening may take, 0..1; as the settings say when None.
        store: folder to keep the run in; None keeps it in memory only.
        settings: limits and allowed rules; those of the nearest `pyproject.toml` when None.
        proof: try cures on copies at the end, where there is a lab for it; as the settings say when None.
    """
    from stethoscope.recording import Recording

    directory = Path.cwd()
    settings = settings or read_settings(directory)
    settings = replace(
        settings,
        every=every or settings.every,
        budget=settings.budget if budget is None else budget,
        proof=settings.proof if proof is None else proof,
    )
    record = RunRecord(command=tuple(sys.argv), directory=str(directory))
    if store is not None:
        record = replace(describe_environment(directory), command=tuple(sys.argv), directory=str(directory))
    recording = Recording(settings, record, store=None if store is None else Path(store))
    recording.open_store()
    return recording, recording.listen_to_arrays(framework)
