"""The configuration: `[tool.stethoscope]` in the nearest `pyproject.toml`, overridden by options."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from stethoscope.core.errors import BadFile


@dataclass(frozen=True)
class Settings:
    """What a user can set."""

    store: str = "runs"
    """Folder of all runs."""
    budget: float = 0.01
    """Share of the training time that listening may take, 0..1."""
    every: int = 0
    """Look at every N-th step instead, when above 0."""
    only: tuple[str, ...] = ()
    """Rules or subjects to run; all when empty."""
    without: tuple[str, ...] = ()
    """Rules or subjects to leave out."""
    fail_on: str = ""
    """`error`, `warning` or `note`: the exit code is 1 when there is such a finding. Empty: the script's own code."""
    proof: bool = True
    """Whether findings are proven by experiments on copies when training has ended."""
    lint: bool = True
    """Whether the files that a run executes are read as well, so that a finding has both kinds of evidence."""
    ring_mb: float = 64
    """Most that a run folder may hold of the steps that were captured, in MB: `stethoscope prove` repeats experiments
    from them. Larger ones are not kept; 0 keeps none."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """Limits of rules, `"dying-relu.most" = 0.8`."""
    allow: Mapping[str, str] = field(default_factory=dict)
    """Rules whose findings are silenced, each with its reason."""


_KINDS: dict[str, type | tuple[type, ...]] = {
    "store": str, "budget": (int, float), "every": int, "only": list, "without": list, "fail_on": str,
    "proof": bool, "lint": bool, "ring_mb": (int, float),
    "limits": dict, "allow": dict,
}  # fmt: skip


def read_settings(directory: Path) -> Settings:
    """The settings of the nearest `pyproject.toml` in or above a folder; the defaults when there is none.

    Raises:
        BadFile: the file is not TOML, or holds a setting that does not exist or has another kind of value.
    """
    for folder in (directory, *directory.parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            return _parse(path)
    return Settings()


def _parse(path: Path) -> Settings:
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("stethoscope", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadFile(f"{path} is not valid TOML: {error}") from error
    except OSError:
        return Settings()
    known = [f.name for f in fields(Settings)]
    given: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            raise BadFile(f"{path}: [tool.stethoscope] has no setting `{key}`; there are {', '.join(known)}")
        if not isinstance(value, _KINDS[name]) or (isinstance(value, bool) and _KINDS[name] is not bool):
            raise BadFile(f"{path}: `{key}` in [tool.stethoscope] cannot be {value!r}")
        given[name] = tuple(value) if isinstance(value, list) else value
    return Settings(**given)
