"""`stethoscope prove` repeats an experiment of a recorded run; once, the command is started as a user starts it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import warm
from programs_run import findings_of

RULE = "learning-rate-too-high"
PROGRAM = """
import os, sys
import torch
from sklearn.datasets import load_digits
from torch import nn

data = load_digits()
images = torch.tensor(data.data, dtype=torch.float32)
images = (images - images.mean()) / images.std()
labels = torch.tensor(data.target)
width = int(os.environ.get("WIDTH", "64"))
assert "FAIL" not in os.environ
model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=float(sys.argv[1] if len(sys.argv) > 1 else 5.0))
print("model made")
for epoch in range(4):
    for rows in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()
print("trained to the end")
"""


def stethoscope(directory: Path, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, in a directory."""
    return warm.stethoscope(*words, cwd=directory, env={**os.environ, **variables})


def in_one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a program and a run of it, whose weights came from no seed."""
    directory = tmp_path_factory.mktemp("recorded")
    (directory / "train.py").write_text(PROGRAM)
    done = stethoscope(directory, "run", "train.py", "5.0")
    assert done.returncode == 0, done.stderr
    return directory


def the_run(place: Path) -> Path:
    (folder,) = (place / "runs").iterdir()
    return folder


def copy_of_run(place: Path, store: Path) -> Path:
    """The run in another store, so that it can be spoilt."""
    shutil.copytree(place / "runs", store)
    return store / the_run(place).name


def test_the_proof_of_the_run_is_repeated(place: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stethoscope", "prove", the_run(place), RULE, "--json", "-"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (found,) = json.loads((the_run(place) / "findings.json").read_text())["findings"]
    assert (found["rule"], document["rule"], document["run"]) == (RULE, RULE, the_run(place).name)
    assert document["proof"]["verdict"] == "cured"
    assert document["proof"] == found["proof"]
    told = in_one_line(done.stderr)
    assert "stethoscope: starting `train.py 5.0` again" in told
    assert "model made" in told  # standard output is for JSON
    assert "trained to the end" not in told
    assert f"cured: {RULE} in {the_run(place).name} tried cured: with learning rate" in told
    assert "(better in 5 of 5 replays)" in told


def test_it_changes_nothing_of_the_run_and_makes_none(place: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in the_run(place).iterdir()}
    done = stethoscope(place, "prove", "last", "dying-relu", "--seconds", "5")
    assert done.returncode in (0, 1), done.stderr
    assert {path: path.stat().st_mtime_ns for path in the_run(place).iterdir()} == before
    assert (the_run(place) / "ring.safetensors").stat().st_mode == (the_run(place) / "run.json").stat().st_mode


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("last", "learning-rate-to-high"), f"did you mean `{RULE}`"),
        (("lost", RULE), "there is no run `lost`"),
        (("last", "overfitting"), "nothing can be tried on a copy for `overfitting`"),
        (("last",), "Missing argument 'RULE'"),
    ],
)
def test_what_does_not_exist_is_a_wrong_use(words: tuple[str, ...], said: str, place: Path) -> None:
    done = stethoscope(place, "prove", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "starting" not in done.stderr


def test_another_model_of_the_same_script_does_not_fit(place: Path) -> None:
    done = stethoscope(place, "prove", "last", RULE, WIDTH="32")
    assert done.returncode == 2
    assert "train.py makes something else than it did in the run: `0.weight` has the shape (32, 64)" in done.stderr


def test_a_script_that_fails_this_time_proves_nothing(place: Path) -> None:
    done = stethoscope(place, "prove", "last", RULE, "--json", "-", FAIL="1")
    assert done.returncode == 1
    proof = json.loads(done.stdout)["proof"]
    assert (proof["verdict"], proof["why"]) == (
        "not possible", "the script ended with AssertionError before the step that was captured",
    )  # fmt: skip


def test_a_script_that_has_changed_is_not_started(place: Path) -> None:
    script = place / "train.py"
    try:
        script.write_text(PROGRAM + "\n")
        done = stethoscope(place, "prove", "last", RULE)
        script.unlink()
        without = stethoscope(place, "prove", "last", RULE)
    finally:
        script.write_text(PROGRAM)
    assert (done.returncode, without.returncode) == (2, 2)
    assert f"{script} has changed since the run began, so the model that was trained" in done.stderr
    assert f"{script} is gone, so the model" in without.stderr
    assert "starting" not in done.stderr + without.stderr


def test_half_a_ring_is_not_believed(place: Path, tmp_path: Path) -> None:
    ring = copy_of_run(place, tmp_path / "runs") / "ring.safetensors"
    ring.write_bytes(ring.read_bytes()[:100_000])
    done = stethoscope(tmp_path, "prove", "last", RULE)
    assert done.returncode == 2
    assert "ring.safetensors is damaged" in done.stderr


def test_a_run_that_was_killed_says_so(place: Path, tmp_path: Path) -> None:
    folder = copy_of_run(place, tmp_path / "runs")
    (folder / "ring.safetensors").rename(folder / ".ring.safetensors.1.draft")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "state": "running"}))
    done = stethoscope(tmp_path, "prove", "last", RULE)
    assert done.returncode == 2
    assert "kept no captured steps to repeat: it was ended by force" in done.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ring_mb": 0}, "`ring-mb` is 0"),
        ({"proof": False}, "experiments were off (`--no-proof`, or `proof = false`)"),
    ],
)
def test_a_run_without_a_ring_says_why(settings: dict[str, float], said: str, tmp_path: Path) -> None:
    findings_of(PROGRAM, tmp_path, **settings)
    assert not list(tmp_path.glob("runs/*/*ring*"))
    done = stethoscope(tmp_path, "prove", "last", RULE)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_ring_that_is_too_large_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.stethoscope]\nring-mb = 0.01\n")
    (tmp_path / "train.py").write_text(PROGRAM)
    assert stethoscope(tmp_path, "run", "train.py").returncode == 0
    assert not list(tmp_path.glob("runs/*/*ring*"))
    done = stethoscope(tmp_path, "prove", "last", RULE)
    assert done.returncode == 2
    assert "MB, and `ring-mb` allows for 0.01" in done.stderr


def test_a_module_is_started_as_one(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "train.py").write_text(PROGRAM)
    done = stethoscope(tmp_path, "run", "-m", "project.train", "5.0")
    assert done.returncode == 0, done.stderr
    done = stethoscope(tmp_path, "prove", "last", RULE)
    assert done.returncode == 0, done.stderr
    assert "starting `-m project.train 5.0` again" in done.stderr
