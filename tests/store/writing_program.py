"""Programs of their own that write a run, and may be killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OPENING = """
import os, resource, sys, time
from pathlib import Path
import numpy as np
from stethoscope.facts.run import RunRecord
from stethoscope.store.writer import RunWriter
writer = RunWriter.create(Path(sys.argv[1]), RunRecord())
"""


def run_program(body: str, store: Path) -> subprocess.CompletedProcess[str]:
    """A real program of its own that writes a run."""
    line = [sys.executable, "-c", OPENING + body, str(store)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def only_run(store: Path) -> Path:
    (folder,) = [path for path in store.iterdir() if path.is_dir()]
    return folder
