"""The profile of a data set as a file: small JSON, saved beside a model."""

from __future__ import annotations

import json
from pathlib import Path

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.facts.data import Profile
from stethoscope.store.packing import pack, unpack

FORMAT = "stethoscope profile"


def save_profile(profile: Profile, file: Path) -> None:
    """Write a profile. Raises UsageError where the file cannot be written."""
    text = json.dumps({"format": FORMAT, "profile": pack(profile)}, allow_nan=False) + "\n"
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error


def load_profile(file: Path) -> Profile:
    """Read a profile. Raises BadFile for a file that is none, or of a newer version than this one knows."""
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadFile(f"{file} is not a profile that can be read: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BadFile(f"{file} is not a profile: `stethoscope data TRAIN --profile FILE` writes one")
    profile = unpack(Profile, document["profile"])
    if profile.version > Profile().version:
        raise BadFile(f"{file} was written by a newer version of stethoscope (profile version {profile.version})")
    return profile
