"""A profile of a data set as a file: strict JSON, gzipped where the name ends in `.gz`."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

from stethoscope.core.errors import BadFile
from stethoscope.facts.data import Profile
from stethoscope.store.packing import pack, unpack

MARK = "stethoscope_profile"
"""The first key of such a file; its value is the version of the profile."""


def save_profile(profile: Profile, path: str | Path) -> None:
    """Write a profile; a file of that name is replaced at once, or not at all.

    Raises: BadFile when it cannot be written.
    """
    path = Path(path)
    text = json.dumps({MARK: profile.version, "profile": pack(profile)}, allow_nan=False, separators=(",", ":"))
    raw = text.encode()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise BadFile(f"cannot write {path}: {error.strerror}") from error


def load_profile(path: str | Path) -> Profile:
    """The profile in a file.

    Raises: BadFile.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
        data = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise BadFile(f"{path} is no profile: {error}") from error
    if not isinstance(data, dict) or MARK not in data:
        raise BadFile(f"{path} is no profile: it lacks {MARK!r}")
    if data[MARK] != Profile().version:
        raise BadFile(f"{path} is a profile of version {data[MARK]}; this program reads version {Profile().version}")
    return unpack(Profile, data.get("profile"))


def is_profile(path: object) -> bool:
    """Whether a path names a file that starts as a saved profile does."""
    if not isinstance(path, str | os.PathLike) or not os.path.isfile(path):
        return False
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(2)
        with gzip.open(path) if start == b"\x1f\x8b" else path.open("rb") as file:
            return file.read(len(MARK) + 8).lstrip().startswith(f'{{"{MARK}"'.encode())
    except (OSError, EOFError):
        return False
