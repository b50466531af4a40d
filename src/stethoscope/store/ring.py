"""Reads what a run's ring says of itself, without torch and without its tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stethoscope.core.errors import BadFile, MissingPiece
from stethoscope.facts.run import RING_FORMAT, RING_OUTLINE, RunRecord
from stethoscope.store.folder import RING


def read_outline(folder: Path, record: RunRecord) -> dict[str, Any]:
    """What the ring in a run's folder holds. Raises BadFile when there is none, with the reason; MissingPiece."""
    file = folder / RING
    if not file.is_file():
        raise BadFile(f"{record.id} kept no captured steps to repeat: {_why_none(record)}")
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingPiece("proving needs safetensors; install it with `pip install safetensors`") from error
    try:
        with safe_open(file, framework="numpy") as opened:
            outline: dict[str, Any] = json.loads((opened.metadata() or {})[RING_OUTLINE])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise BadFile(f"{file} is damaged ({error}): put back a copy, or record the run again") from error
    if outline.get("format") != RING_FORMAT:
        raise BadFile(f"{file} was written by another version of stethoscope: record the run again")
    return outline


def _why_none(record: RunRecord) -> str:
    if record.no_ring:
        return record.no_ring
    if record.state == "running":
        return "it has not ended"
    if record.state == "lost":
        return "it was ended by force, and they are written at the end"
    return "the disk failed, or it was recorded by an earlier version"
