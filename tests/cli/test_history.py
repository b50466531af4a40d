"""The history of experiments at the command line: conditions, tags, several runs, and a run once more."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest

import warm

PROGRAM = """
import argparse, torch
from torch import nn
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--free", action="store_true")
options = parser.parse_args()
if not options.free:
    torch.manual_seed(0)
x = torch.load("data/x.pt")
y = (x.sum(1) > 0).long()
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=options.lr)
for step in range(12):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""


def stethoscope(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return warm.stethoscope(*words, cwd=folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in git whose data git does not track, with two recorded runs; the second has no seed."""
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("project")
    (folder / "train.py").write_text(PROGRAM)
    (folder / ".gitignore").write_text("data\nruns\n")
    (folder / "data").mkdir()
    torch.save(torch.arange(256.0).reshape(64, 4).sin(), folder / "data" / "x.pt")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)
    for extra in (["--lr", "0.5"], ["--free"]):
        done = stethoscope("run", "--quiet", "train.py", *extra, folder=folder)
        assert done.returncode == 0, done.stderr
    return folder


def names(project: Path) -> list[str]:
    return sorted(path.name for path in (project / "runs").iterdir())


def test_a_condition_picks_runs(project: Path) -> None:
    said = json.loads(stethoscope("runs", "lr > 0.2", "--json", "-", folder=project).stdout)

    assert [run["id"] for run in said["runs"]] == names(project)[:1]


def test_a_name_that_no_run_has_is_wrong_use(project: Path) -> None:
    done = stethoscope("runs", "lrr > 0.2", folder=project)

    assert done.returncode == 2
    assert "there is lr" in done.stderr


def test_a_tag_is_written_and_found(project: Path) -> None:
    stethoscope("tag", names(project)[0], "baseline", "--note", "the first", folder=project)
    listed = stethoscope("runs", "tag == 'baseline'", "--columns", "lr", folder=project).stdout

    assert names(project)[0] in listed
    assert names(project)[1] not in listed
    assert "0.5" in listed


def test_runs_are_exported_with_what_was_set_and_reached(project: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(stethoscope("runs", "--csv", "-", folder=project).stdout)))

    assert [float(row["lr"]) for row in rows][:2] == [0.5, 0.1]
    assert all(float(row["best.loss"]) > 0 for row in rows)


def test_a_seeded_run_repeats_bit_for_bit_on_its_own_code(project: Path) -> None:
    script = project / "train.py"
    script.write_text(PROGRAM.replace("nn.ReLU()", "nn.Tanh()"))  # the code has moved on
    try:
        done = stethoscope("rerun", names(project)[0], folder=project)
    finally:
        script.write_text(PROGRAM)

    assert "repeats bit for bit" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
    trees = subprocess.run(["git", "worktree", "list"], cwd=project, capture_output=True, text=True, check=True).stdout
    assert len(trees.splitlines()) == 1


def test_a_rerun_ends_where_the_run_ended_and_can_be_run_again(project: Path) -> None:
    stethoscope("run", "--no-proof", "--quiet", "--max-steps", "7", "train.py", "--lr", "0.2", folder=project)
    done = [stethoscope("rerun", "last", folder=project) for _ in range(2)]
    for name in names(project)[-3:]:
        record = json.loads((project / "runs" / name / "run.json").read_text())
        assert (record["steps"], record["directory"]) == (7, str(project))
        shutil.rmtree(project / "runs" / name)

    assert [one.returncode for one in done] == [0, 0], done[1].stderr


def test_a_run_that_ends_earlier_now_does_not_repeat(project: Path) -> None:
    script, been = project / "train.py", project / "data" / "been"
    early = "import os; steps = 5 if os.path.exists('data/been') else 12; open('data/been', 'w').close()"
    script.write_text(f"{early}\n{PROGRAM.replace('range(12)', 'range(steps)')}")
    stethoscope("run", "--no-proof", "--quiet", "train.py", folder=project)
    done = stethoscope("rerun", "last", "--here", folder=project)
    for name in names(project)[-2:]:
        shutil.rmtree(project / "runs" / name)
    script.write_text(PROGRAM)
    been.unlink()

    assert done.returncode == 1, done.stdout
    assert "12 steps then, 5 now" in done.stdout


def test_a_run_without_a_seed_does_not_repeat(project: Path) -> None:
    done = stethoscope("rerun", names(project)[1], folder=project)

    assert done.returncode == 1
    assert "parts at step 0" in done.stdout


def test_more_than_two_runs_are_compared_by_what_differs(project: Path) -> None:
    done = stethoscope("compare", *names(project)[:3], folder=project)

    assert done.returncode == 0, done.stderr
    assert "lr" in done.stdout.splitlines()[1] or "lr" in done.stdout.splitlines()[0]
    assert all(name in done.stdout for name in names(project)[:3])
