"""The profile of a data set as a file: small JSON, saved beside a model; gzipped where the name ends in `.gz`."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.facts.data import Profile
from stethoscope.store.packing import pack, unpack

FORMAT = "stethoscope profile"
ZIPPED = b"\x1f\x8b"


def save_profile(profile: Profile, file: Path) -> None:
    """Write a profile; a file of that name is replaced at once, or not at all.

    Raises: UsageError where the file cannot be written.
    """
    text = json.dumps({"format": FORMAT, "profile": pack(profile)}, allow_nan=False, separators=(",", ":")) + "\n"
    raw = text.encode()
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_bytes(gzip.compress(raw, mtime=0) if file.suffix == ".gz" else raw)
        os.replace(beside, file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(f"cannot write {file}: {error.strerror}") from error


def load_profile(file: Path) -> Profile:
    """Read a profile. Raises BadFile for a file that is none, or of another version than this one knows."""
    try:
        raw = file.read_bytes()
        document = json.loads(gzip.decompress(raw) if raw.startswith(ZIPPED) else raw)
    except (OSError, EOFError, ValueError) as error:
        raise BadFile(f"{file} is not a profile that can be read: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BadFile(f"{file} is not a profile: `stethoscope data TRAIN --profile FILE` writes one")
    profile = unpack(Profile, document.get("profile"))
    if profile.version > Profile().version:
        raise BadFile(f"{file} was written by a newer version of stethoscope (profile version {profile.version})")
    return profile


def is_profile(source: object) -> bool:
    """Whether this is the path of a file that starts as a saved profile does."""
    if not isinstance(source, str | os.PathLike) or not os.path.isfile(source):
        return False
    file = Path(os.fsdecode(source))
    try:
        with file.open("rb") as opened:
            start = opened.read(64)
        if start.startswith(ZIPPED):
            with gzip.open(file) as opened:
                start = opened.read(64)
    except (OSError, EOFError):
        return False
    return start.lstrip().startswith(b"{") and f'"{FORMAT}"'.encode() in start
