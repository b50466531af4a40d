"""The one sentence that a run gets to say when it cannot be recorded."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def sentence(what: str, where: Path | None, error: Exception) -> str:
    """What, where, why, and what to do."""
    told = error.strerror if isinstance(error, OSError) else ""
    reason = told or str(error) or type(error).__name__
    if not isinstance(error, OSError | sqlite3.Error):
        advice = "this is a mistake in stethoscope, please report it"
        reason = f"{type(error).__name__}: {reason}"
    elif "full" in reason or "space" in reason or "quota" in reason:
        advice = "free some space, or choose another place with --store"
    else:
        advice = "choose a place that can be written with --store"
    return f"{what} in {where} ({reason}): training goes on without it; {advice}."
