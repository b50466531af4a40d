"""The floors of the house: imports go down only, files stay small, torch stays in its room."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "stethoscope"
FLOORS = {
    "core": 0, "facts": 0,
    "rules": 1,
    "observe": 2, "diagnosing": 2, "store": 2, "render": 2,
    "api": 3,
    "cli": 4, "web": 4, "adapters": 4, "__main__": 4,
}  # fmt: skip
LOWEST = {"facts": ("core", "facts"), "core": ("core", "facts")}
"""Core and facts share a floor and may see each other: findings speak of facts, rules of both."""
LONGEST_FILE = 500


def test_imports_go_down_only() -> None:
    assert not [complaint for path in files() for complaint in upward(room_of(path), path.read_text())]


def test_an_import_upwards_is_complained_about() -> None:
    bad = "import stethoscope.api\nfrom stethoscope.render import terminal\nfrom stethoscope import cli\n"
    assert upward("rules", bad) == ["rules imports api", "rules imports render", "rules imports cli"]


def test_an_import_sideways_is_complained_about() -> None:
    bad = "def f():\n    from stethoscope.store.run import load\n"
    assert upward("render", bad) == ["render imports store"]


def test_relative_imports_are_complained_about() -> None:
    assert upward("store", "from ..render import html\n") == ["store imports relatively"]


def test_what_is_only_imported_for_types_counts_too() -> None:
    bad = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from stethoscope.observe.x import Y\n"
    assert upward("rules", bad) == ["rules imports observe"]


def test_torch_is_imported_in_its_room_only() -> None:
    found = [str(p) for p in files() if room_of(p) != "observe" and imports_package(p.read_text(), "torch")]
    assert not found


def test_core_and_facts_need_numpy_only() -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "stethoscope"}
    found = [
        (path.name, name)
        for path in files()
        if room_of(path) in {"core", "facts"}
        for name in imported(path.read_text())
        if name.split(".")[0] not in allowed
    ]
    assert not found


def test_a_torch_import_would_be_seen() -> None:
    assert imports_package("def f():\n    import torch.nn as nn\n", "torch")
    assert not imports_package("import torchvision\n", "torch")


def test_no_file_is_long() -> None:
    lengths = {str(path.relative_to(SOURCE)): len(path.read_text().splitlines()) for path in files()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FILE}


def files() -> list[Path]:
    """Every source file of the package."""
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The room a file is in: the first name below the package."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported(text: str) -> Iterator[str]:
    """The dotted names that a file imports, at any depth; relative imports start with a dot."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level + (node.module or "")
            elif node.module == "stethoscope":
                yield from (f"stethoscope.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def imports_package(text: str, package: str) -> bool:
    """Whether a file imports this package."""
    return any(name.split(".")[0] == package for name in imported(text))


def upward(room: str, text: str) -> list[str]:
    """Complaints about a file of this room that imports from its own floor's other rooms, or from above."""
    complaints = []
    for name in imported(text):
        if name.startswith("."):
            complaints.append(f"{room} imports relatively")
            continue
        first, *rest = name.split(".")
        other = rest[0] if rest else ""
        if first != "stethoscope" or other not in FLOORS or room not in FLOORS or other == room:
            continue
        if FLOORS[other] >= FLOORS[room] and other not in LOWEST.get(room, ()) and FLOORS[room] < 4:
            complaints.append(f"{room} imports {other}")
    return complaints
