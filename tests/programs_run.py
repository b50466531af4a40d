"""Runs a program under the listener in a forked child, where torch is imported already: a tenth of a second each."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from stethoscope.core.settings import Settings


def findings_of(text: str, folder: Path, **settings: Any) -> dict[str, Any]:
    """The JSON document of a run of this program; settings as in `Settings`."""
    script = folder / "program.py"
    script.write_text(text, "utf-8")
    result = folder / "findings.json"
    process = multiprocessing.get_context("fork").Process(target=_run, args=(script, result, settings))
    process.start()
    process.join(120)
    assert process.exitcode == 0, (folder / "output.txt").read_text()
    document: dict[str, Any] = json.loads(result.read_text("utf-8"))
    return document


def _run(script: Path, result: Path, settings: dict[str, Any]) -> None:
    from stethoscope.api import run

    os.chdir(script.parent)
    with open("output.txt", "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        torch.set_num_threads(1)
        ran = run(script, settings=replace(Settings(), store=str(script.parent / "runs"), **settings), json=result)
        sys.stdout.flush()
    os._exit(ran.exit_code)


def alarms(document: dict[str, Any]) -> list[str]:
    """Names of the rules with an error or a warning, most important first."""
    return [f["rule"] for f in document["findings"] if f["severity"] in ("error", "warning")]
