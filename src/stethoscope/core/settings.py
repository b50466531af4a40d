"""The configuration: `[tool.stethoscope]` in the nearest `pyproject.toml`, overridden by options."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from stethoscope.core.errors import BadFile


@dataclass(frozen=True)
class PathSettings:
    """What holds for the files of one pattern."""

    only: tuple[str, ...] = ()
    """Rules or subjects that count there; all when empty."""
    without: tuple[str, ...] = ()
    """Rules or subjects that do not."""


@dataclass(frozen=True)
class LintSettings:
    """`[tool.stethoscope.lint]`: what a user can set for source files that are read and not run."""

    exclude: tuple[str, ...] = ()
    """Patterns of files and folders that are left out, from the folder of the `pyproject.toml`."""
    per_path: Mapping[str, PathSettings] = field(default_factory=dict)
    """Pattern to what holds there; all that fit hold."""
    folder: str = ""
    """Where the patterns begin: the folder of the `pyproject.toml`; empty for the working directory."""


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
    to: tuple[str, ...] = ()
    """Experiment trackers that are told of each run: `tensorboard`, `wandb`, `mlflow`, ..."""
    code: bool = True
    """Whether the files that a run executes are read as well, so that a finding has both kinds of evidence."""
    ring_mb: float = 64
    """Most that a run folder may hold of the steps that were captured, in MB: `stethoscope prove` repeats experiments
    from them. Larger ones are not kept; 0 keeps none."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """Limits of rules, `"dying-relu.most" = 0.8`."""
    allow: Mapping[str, str] = field(default_factory=dict)
    """Rules whose findings are silenced, each with its reason."""
    lint: LintSettings = LintSettings()
    """What holds for `stethoscope lint` alone."""


_KINDS: dict[str, type | tuple[type, ...]] = {
    "store": str, "budget": (int, float), "every": int, "only": list, "without": list, "fail_on": str,
    "proof": bool, "code": bool, "to": list, "ring_mb": (int, float),
    "limits": dict, "allow": dict, "lint": dict,
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
        if name == "lint":
            given[name] = _lint(table[key], path)
            continue
        given[name] = tuple(value) if isinstance(value, list) else value
    return Settings(**given)


def _lint(table: Mapping[str, Any], path: Path) -> LintSettings:
    where = "[tool.stethoscope.lint]"
    _only_known(table, ("exclude", "per-path"), f"{path}: {where}")
    per_path = table.get("per-path", {})
    if not isinstance(per_path, dict):
        raise BadFile(f"{path}: `per-path` in {where} should be a table of patterns, not {per_path!r}")
    scopes = {}
    for pattern, entry in per_path.items():
        there = f'{where[:-1]}.per-path."{pattern}"]'
        if not isinstance(entry, dict):
            raise BadFile(f"{path}: {there} should be a table with `only` or `without`, not {entry!r}")
        _only_known(entry, ("only", "without"), f"{path}: {there}")
        scopes[pattern] = PathSettings(_texts(entry, "only", there, path), _texts(entry, "without", there, path))
    return LintSettings(_texts(table, "exclude", where, path), scopes, str(path.parent))


def _only_known(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise BadFile(f"{where} has no setting `{key}`; there are {', '.join(known)}")


def _texts(table: Mapping[str, Any], key: str, where: str, path: Path) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise BadFile(f"{path}: `{key}` in {where} should be a list of texts, not {value!r}")
    return tuple(value)
