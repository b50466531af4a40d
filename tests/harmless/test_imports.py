"""What is imported when something is told, which may be in the middle of a training, draws no random numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import random

random.seed(0)
state = random.getstate()
import {module}
assert random.getstate() == state
"""


@pytest.mark.parametrize("module", ["stethoscope.render.terminal", "stethoscope.render.tables", "stethoscope.api"])
def test_an_import_leaves_pythons_random_numbers_as_they_were(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(module=module)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
