"""Runs a program under the listener in a fork of a warm interpreter: a tenth of a second each, and what it computes."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import warm

TORCHRUN = "# torchrun --nproc_per_node 2"
"""Begins a program that runs in two processes."""
PATIENT_S = 300.0
"""For the experiments of a run: on a busy machine the 20 s of a user's run may end before the cure shows."""


def findings_of(text: str, folder: Path, *, check: bool = False, **settings: Any) -> dict[str, Any]:
    """The JSON document of a run of this program, or of a check of it; settings as in `Settings`."""
    script = folder / "program.py"
    script.write_text(text, "utf-8")
    if text.startswith(TORCHRUN):
        return _launched(script)
    result = folder / "findings.json"
    words = [__file__, script, result, json.dumps(settings), "check" if check else "run"]
    ended = warm.run(words, cwd=folder)
    assert result.exists(), ended.stderr.decode()
    assert check or ended.returncode == 0, ended.stderr.decode()
    document: dict[str, Any] = json.loads(result.read_text("utf-8"))
    return document


def _launched(script: Path) -> dict[str, Any]:
    """Of a program in two processes; again where torch itself aborts or hangs while gloo ends, as happens."""
    for attempt in range(4):
        shutil.rmtree(script.parent / "runs", ignore_errors=True)
        try:
            ended = warm.two_ranks(["-m", "stethoscope", "run", "--store", "runs", script.name], cwd=script.parent)
        except TimeoutError:
            if attempt == 3:
                raise
            continue
        if b"terminate called without an active exception" not in ended.stderr:
            break
    assert ended.returncode == 0, ended.stderr.decode()
    (run,) = (script.parent / "runs").iterdir()
    document: dict[str, Any] = json.loads((run / "findings.json").read_text("utf-8"))
    return document


def _listen(script: Path, result: Path, settings: dict[str, Any], check: bool) -> int:
    """In the fork: run or check the program, and give its exit code."""
    from stethoscope import experiments
    from stethoscope.api import run
    from stethoscope.checking import check_script
    from stethoscope.core.settings import Settings

    experiments.PROOF_S = PATIENT_S
    chosen = replace(Settings(), store=str(script.parent / "runs"), **settings)
    if check:
        return check_script(
            str(script), (), module=False, settings=chosen, profile="default", simplify=True, json=result
        ).exit_code
    return run(script, settings=chosen, json=result).exit_code


def alarms(document: dict[str, Any]) -> list[str]:
    """Names of the rules with an error or a warning, most important first."""
    return [f["rule"] for f in document["findings"] if f["severity"] in ("error", "warning")]


if __name__ == "__main__":
    _, program, written, chosen_settings, verb = sys.argv
    sys.exit(_listen(Path(program), Path(written), json.loads(chosen_settings), verb == "check"))
