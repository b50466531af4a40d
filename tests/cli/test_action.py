"""The action for GitHub: its steps, run as a job there would run them, and what its file says.

GitHub itself is not here: what it gives a step (variables, a workspace, a file for outputs) is made up.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

TOP = Path(__file__).parents[2]
FAULTY = """import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(256, 4)
y = (torch.randn(256) > 0).long()
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(60):
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""
HEALTHY = FAULTY.replace("    loss.backward()", "    optimizer.zero_grad()\n    loss.backward()").replace(
    "(torch.randn(256) > 0)", "(x[:, 0] > 0)"
)
AT_LINE_12 = "::error file=part/train.py,line=12,title=stethoscope%3A missing-zero-grad::"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A workspace with a project in a folder of it, and a `stethoscope` on the path."""
    part = tmp_path / "workspace" / "part"
    part.mkdir(parents=True)
    (part / "train.py").write_text(FAULTY)
    (part / "healthy one.py").write_text(HEALTHY)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "stethoscope").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m stethoscope "$@"\n')
    (commands / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for command in commands.iterdir():
        command.chmod(0o755)
    (tmp_path / "outputs").write_text("")
    return tmp_path


def step(job: Path, script: str, *words: str, **inputs: str) -> subprocess.CompletedProcess[str]:
    """A step of the action, as it is run in a job."""
    environment = {
        **os.environ, "PATH": f"{job / 'bin'}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        "GITHUB_WORKSPACE": str(job / "workspace"), "GITHUB_OUTPUT": str(job / "outputs"),
        "GITHUB_ACTION_PATH": str(TOP), "RUNNER_TEMP": str(job / "temp"), **inputs,
    }  # fmt: skip
    return subprocess.run(
        ["bash", str(TOP / "action" / script), *words],
        cwd=job / "workspace" / "part", env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def lint(job: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    given = {"PATHS": ".", "FORM": "github", "OUTPUT": "", "BASELINE": "", "FAIL_ON": "note", "ARGUMENTS": ""}
    return step(job, "lint.sh", **{**given, **inputs})


def test_a_review_marks_lines_from_the_workspace(job: Path) -> None:
    done = lint(job)

    assert done.returncode == 1
    assert "::error file=part/train.py,line=12," in done.stdout
    assert "healthy" not in done.stdout


def test_a_review_takes_several_paths_and_runs_nothing_of_its_inputs(job: Path) -> None:
    done = lint(job, PATHS="healthy*.py $(touch$IFS$9came) ;touch", ARGUMENTS="--without loss")

    assert not (job / "workspace" / "part" / "came").exists()
    assert done.returncode == 2  # names of what is not there


def test_each_line_is_checked_and_the_job_fails_with_the_worst(job: Path) -> None:
    targets = "train.py --epochs 3  # the small one\n\n'healthy one.py'\n"
    done = step(job, "try.sh", "check", TARGETS=targets, FAIL_ON="error", ARGUMENTS="--quick")

    assert done.returncode == 1, done.stderr
    assert "NameError" not in done.stderr
    assert done.stdout.count("::group::stethoscope check ") == 2
    assert next(line for line in done.stdout.splitlines() if line.startswith("::error")).startswith(AT_LINE_12)
    assert "stethoscope check train.py --epochs 3: exit code 1" in done.stdout
    reports = job / "temp" / "stethoscope"
    assert (job / "outputs").read_text() == f"reports={reports}\n"
    first, second = (ElementTree.parse(reports / f"check-{number}.xml").getroot() for number in (1, 2))
    assert (int(first.get("failures", 0)) > 0, second.get("failures")) == (True, "0")
    assert "<html" in (reports / "check-1.html").read_text()
    assert not (job / "workspace" / "part" / "runs").exists()


def test_a_script_is_run_and_the_level_that_fails_is_an_input(job: Path) -> None:
    failing = step(job, "try.sh", "run", TARGETS="train.py", FAIL_ON="error", ARGUMENTS="--no-proof --max-steps 50")
    passing = step(job, "try.sh", "run", TARGETS="'healthy one.py'", FAIL_ON="error", ARGUMENTS="--no-proof")

    assert failing.returncode == 1
    assert AT_LINE_12 in failing.stdout
    assert ElementTree.parse(job / "temp" / "stethoscope" / "run-1.xml").getroot().get("failures") == "0"  # the second
    assert passing.returncode == 0, passing.stdout + passing.stderr


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("\n# nothing\n", "there is nothing to check: name a script"),
        ("train.py 'open", "No closing quotation in this line"),
        ("gone.py", "gone.py"),
    ],
)
def test_a_wrong_line_fails_the_job_and_says_why(job: Path, targets: str, words: str) -> None:
    done = step(job, "try.sh", "check", TARGETS=targets, FAIL_ON="error", ARGUMENTS="--quick")

    assert done.returncode == 2
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_line_is_never_read_by_the_shell(job: Path) -> None:
    (job / "workspace" / "part" / "tell.py").write_text("import sys\nprint(sys.argv[1:])\n")
    done = step(job, "try.sh", "run", TARGETS="tell.py '$(touch came)' ';touch' '*.py'", FAIL_ON="error", ARGUMENTS="")

    assert "['$(touch came)', ';touch', '*.py']" in done.stdout
    assert done.returncode == 0


def test_a_script_that_reads_its_input_does_not_take_the_lines_of_the_next_ones(job: Path) -> None:
    (job / "workspace" / "part" / "ask.py").write_text("import sys\nprint(repr(sys.stdin.read()))\n")
    done = step(job, "try.sh", "run", TARGETS="ask.py first\nask.py second\n", FAIL_ON="error", ARGUMENTS="")

    assert done.stdout.count("::group::stethoscope run ask.py") == 2
    assert done.stdout.count("''") == 2


def test_what_an_earlier_step_said_is_not_said_again_where_a_run_dies(job: Path) -> None:
    old = job / "temp" / "stethoscope" / "run-1.txt"
    old.parent.mkdir(parents=True)
    old.write_text("::error::of another step\n")
    (job / "workspace" / "part" / "dies.py").write_text("import os\nos._exit(9)\n")
    done = step(job, "try.sh", "run", TARGETS="dies.py", FAIL_ON="error", ARGUMENTS="")

    assert done.returncode == 9
    assert "of another step" not in done.stdout


def action() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    loaded: dict[str, Any] = yaml.safe_load((TOP / "action.yml").read_text("utf-8"))
    return loaded


def test_every_input_is_used_and_no_other_and_none_within_shell_code() -> None:
    known = action()
    text = (TOP / "action.yml").read_text("utf-8")

    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == set(known["inputs"])
    assert all(set(one) == {"description", "default"} for one in known["inputs"].values())
    assert known["runs"]["using"] == "composite"
    for one in known["runs"]["steps"]:
        assert "${{" not in one.get("run", "")
        assert "uses" in one or one["shell"] == "bash"
        assert set(one) <= {"id", "name", "if", "uses", "with", "shell", "working-directory", "env", "run"}


def test_the_variables_of_a_step_are_those_that_its_script_reads() -> None:
    for one in action()["runs"]["steps"]:
        script = re.search(r"action/(\w+\.sh)", one.get("run", ""))
        if script:
            code = "\n".join(
                line for line in (TOP / "action" / script[1]).read_text("utf-8").splitlines() if line[:1] != "#"
            )
            read = set(re.findall(r"\$\{?([A-Z_]+)", code)) - {"GITHUB_OUTPUT", "RUNNER_TEMP"}
            assert read == set(one["env"])


def test_steps_use_options_that_exist() -> None:
    from stethoscope.cli import check, lint, run

    for name, commands in (("lint.sh", (lint,)), ("try.sh", (check, run))):
        used = set(re.findall(r"(?<= )--[a-z][a-z-]+", (TOP / "action" / name).read_text("utf-8")))
        assert used
        for each in commands:
            assert used <= {option for parameter in each.command.params for option in parameter.opts}
