"""Runs a program under the listener in a forked child, where torch is imported already: a tenth of a second each."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from stethoscope.core.settings import Settings

TORCHRUN = "# torchrun --nproc_per_node 2"
"""Begins a program that runs in two processes."""


def findings_of(text: str, folder: Path, *, check: bool = False, **settings: Any) -> dict[str, Any]:
    """The JSON document of a run of this program, or of a check of it; settings as in `Settings`."""
    script = folder / "program.py"
    script.write_text(text, "utf-8")
    result = folder / "findings.json"
    if text.startswith(TORCHRUN):
        _launch(script)
        (run,) = (folder / "runs").iterdir()
        launched: dict[str, Any] = json.loads((run / "findings.json").read_text("utf-8"))
        return launched
    process = multiprocessing.get_context("fork").Process(target=_run, args=(script, result, settings, check))
    process.start()
    process.join(120)
    assert result.exists(), (folder / "output.txt").read_text()
    assert check or process.exitcode == 0, (folder / "output.txt").read_text()
    document: dict[str, Any] = json.loads(result.read_text("utf-8"))
    return document


def _launch(script: Path) -> None:
    """Run a program in two processes; again where torch itself aborts while gloo ends, as it does once in a while."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "stethoscope", "run"]
    for _ in range(4):
        shutil.rmtree(script.parent / "runs", ignore_errors=True)
        ended = subprocess.run(
            [sys.executable, *command, "--store", "runs", script.name],
            cwd=script.parent, capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        if "terminate called without an active exception" not in ended.stderr:
            break
    assert ended.returncode == 0, ended.stderr


def _run(script: Path, result: Path, settings: dict[str, Any], check: bool) -> None:
    from stethoscope.api import run
    from stethoscope.checking import check_script

    os.chdir(script.parent)
    with open("output.txt", "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        torch.set_num_threads(1)
        chosen = replace(Settings(), store=str(script.parent / "runs"), **settings)
        if check:
            ran = check_script(
                str(script), (), module=False, settings=chosen, profile="default", simplify=True, json=result
            )
        else:
            ran = run(script, settings=chosen, json=result)
        sys.stdout.flush()
    os._exit(ran.exit_code)


def alarms(document: dict[str, Any]) -> list[str]:
    """Names of the rules with an error or a warning, most important first."""
    return [f["rule"] for f in document["findings"] if f["severity"] in ("error", "warning")]
