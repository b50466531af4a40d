"""Fixtures for programs that are run with and without us."""

from __future__ import annotations

from pathlib import Path

import pytest
from pairs import PROGRAMS, Pair


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Runs programs with and without us."""
    return Pair(tmp_path)


@pytest.fixture
def programs() -> Path:
    """The folder of the programs that print their state's checksums."""
    return PROGRAMS
