"""Paths on the command line to files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stethoscope.observe.code.finding import find


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "a.py",
        "b.txt",
        "sub/c.py",
        "sub/d.ipynb",
        ".venv/e.py",
        "__pycache__/f.py",
        ".virtual_documents/d.ipynb",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*paths: str) -> list[str]:
    return [path.as_posix() for path in find(paths).files]


def test_a_folder_stands_for_the_python_files_and_notebooks_below_it(folder: Path) -> None:
    assert names(".") == ["a.py", "sub/c.py", "sub/d.ipynb"]


def test_a_file_is_taken_whatever_its_name_and_only_once(folder: Path) -> None:
    assert names("b.txt", "a.py", "./a.py") == ["b.txt", "a.py"]


def test_globs_are_expanded(folder: Path) -> None:
    assert names("**/*.py") == ["a.py", "sub/c.py"] or names("sub/*.py") == ["sub/c.py"]


def test_what_does_not_exist_is_told(folder: Path) -> None:
    assert find(["nowhere.py", "a.py"]).missing == ["nowhere.py"]


def test_links_that_lead_back_up_are_followed_once(folder: Path) -> None:
    os.symlink(folder, folder / "sub" / "up")
    os.symlink(folder / "gone.py", folder / "dead.py")

    assert names("sub") == ["sub/c.py", "sub/d.ipynb", "sub/up/a.py", "sub/up/dead.py"]


def test_what_git_ignores_is_left_out_and_counted(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".gitignore").write_text("# generated\nsub/*.py\n!sub/keep.py\nbuild/\n/a.py\n")
    for name in ("sub/keep.py", "build/x.py", "sub/deep/a.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")

    found = find(["."])

    assert [path.as_posix() for path in found.files] == ["sub/d.ipynb", "sub/keep.py", "sub/deep/a.py"]
    assert found.ignored == 3
    assert [path.as_posix() for path in find(["sub"]).files] == ["sub/d.ipynb", "sub/keep.py", "sub/deep/a.py"]


def test_an_ignored_file_that_is_named_is_read(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".gitignore").write_text("*.py\n")

    assert names("a.py") == ["a.py"]
