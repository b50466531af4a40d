"""What a run was made of is found without harm: nothing written, no torch imported, no secret kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stethoscope.observe import environment
from stethoscope.observe.environment import (
    describe_environment,
    describe_git,
    describe_hardware,
    describe_packages,
    describe_variables,
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("lr = 1\n")
    somebody = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q", "-b", "trunk"], ["add", "."], [*somebody, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy test machine may let git wait."""
    monkeypatch.setattr(environment, "GIT_S", 20.0)


def test_a_clean_repository_has_a_commit_a_branch_and_no_diff(repository: Path) -> None:
    told = describe_git(repository)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True)
    assert told == {"commit": head.stdout.strip(), "branch": "trunk", "dirty": False, "diff": ""}


def test_what_was_not_committed_is_kept_as_a_diff_seen_from_a_folder_below_too(repository: Path) -> None:
    (repository / "train.py").write_text("lr = 10\n")
    (repository / "below").mkdir()
    told = describe_git(repository / "below")
    assert told["dirty"]
    assert "-lr = 1\n+lr = 10\n" in told["diff"]


def test_a_touched_file_beside_a_changed_one_is_no_change(repository: Path) -> None:
    (repository / "aa.py").write_text("a\n")
    (repository / "zz.py").write_text("z\n")
    subprocess.run(["git", "add", "."], cwd=repository, check=True)
    os.utime(repository / "train.py", (0, 0))
    diff = describe_git(repository)["diff"]
    assert [line for line in diff.splitlines() if line.startswith("diff")] == [
        "diff --git a/aa.py b/aa.py",
        "diff --git a/zz.py b/zz.py",
    ]


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    subprocess.run(["git", "checkout", "-q", "--detach"], cwd=repository, check=True)
    assert describe_git(repository)["branch"] == ""


def test_a_diff_is_cut_at_its_limit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "MOST_DIFF_BYTES", 100)
    (repository / "train.py").write_text("x\n" * 1000)
    assert describe_git(repository)["diff"].endswith("\n(cut)\n")
    assert len(describe_git(repository)["diff"]) < 120


def test_outside_a_repository_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert describe_git(tmp_path) == {}


def test_without_git_there_is_nothing_to_tell(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert describe_git(repository) == {}


def test_a_git_that_hangs_is_not_waited_for(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = repository / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(environment, "GIT_S", 0.05)
    monkeypatch.setenv("PATH", f"{repository}:{os.environ['PATH']}")
    assert describe_git(repository) == {}


def test_asking_git_writes_nothing_and_a_touched_file_is_no_change(repository: Path) -> None:
    os.utime(repository / "train.py", (0, 0))  # a `git diff` that may write would refresh the index now
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    assert describe_git(repository)["diff"] == ""
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


def test_packages_have_the_versions_that_their_own_metadata_says() -> None:
    from importlib.metadata import version

    found = describe_packages()
    for name in ("numpy", "rich", "click", "pytest", "scikit-learn"):
        assert found[name] == version(name)


def test_of_two_versions_the_one_first_on_the_path_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, version in (("a", "2.0"), ("b", "1.0")):
        (tmp_path / place / f"My_Tool-{version}.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "nothing")])
    assert describe_packages() == {"my-tool": "2.0"}


def test_variables_that_change_results_are_kept_and_secrets_are_not() -> None:
    variables = {
        "OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "0", "TORCH_LOGS": "x", "TORCH_HUB_TOKEN": "s3cret",
        "HOME": "/home/me", "AWS_SECRET_ACCESS_KEY": "s3cret",
    }  # fmt: skip
    assert describe_variables(variables) == {"OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "0", "TORCH_LOGS": "x"}


def test_the_machine_is_described_without_importing_torch(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from stethoscope.observe.environment import describe_environment
record = describe_environment(Path("."))
print(record.hardware["cores"] > 0, record.hardware["accelerators"], "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True [] False"


def test_threads_are_told_once_torch_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cuda:
        @staticmethod
        def is_initialized() -> bool:
            return True

        @staticmethod
        def device_count() -> int:
            return 2

        @staticmethod
        def get_device_name(index: int) -> str:
            return f"GPU {index}"

    class Torch:
        cuda = Cuda

        @staticmethod
        def get_num_threads() -> int:
            return 3

    monkeypatch.setitem(sys.modules, "torch", Torch)
    told = describe_hardware()
    assert (told["torch_threads"], told["accelerators"]) == (3, ["GPU 0", "GPU 1"])


def test_the_record_holds_all_of_it(repository: Path) -> None:
    record = describe_environment(repository)
    assert record.git["branch"] == "trunk"
    assert record.packages["numpy"]
    assert record.python == ".".join(map(str, sys.version_info[:3]))
